import { setTimeout as delay } from "node:timers/promises";

import { World } from "@postern/broker/testing/durability/world";
import { Random } from "@postern/broker/testing/random";
import type { Address } from "@postern/broker/testing/wire-client";

import { configured } from "./configurations.ts";
import { scratch, type TestServer, up } from "./postern.ts";

/**
 * Anonymous on a free port; no queue drops what a slow reader is owed, and no client is kept out for coming back before the
 * server has noticed that it was gone, as those do that are killed again and again.
 */
const configuration = `
listeners:
  - url: mqtt://127.0.0.1:0
    anonymous: true
metrics: { url: off }
limits:
  queuedMessagesMax: 1000000
  queuedBytesMax: 4000000000
  takeOversPerMinuteMax: 0
`;

/** The longest that the load lasts before a kill; the shortest is a tenth of it. */
const livesMsMax = 700;

export interface KillReport {
  readonly messages: number;
  /** QoS 1 messages that came more than once, as they may. */
  readonly duplicates: number;
  /** How long the server took to be there again, on average. */
  readonly restartMs: number;
  /** What was lost, doubled or forgotten, one sentence each. */
  readonly problems: readonly string[];
}

function addressOf(server: TestServer): Address {
  return { host: "127.0.0.1", port: Number(new URL(server.urls[0] ?? "").port) };
}

/** Traffic for a random while. */
async function live(address: Address, world: World, random: Random): Promise<void> {
  const end = performance.now() + random.between(livesMsMax / 10, livesMsMax);
  while (performance.now() < end) {
    for (let acts = random.between(1, 12); acts > 0; acts -= 1) world.act(address);
    await delay(random.below(4));
  }
}

/**
 * Kills a real server (`kill -9`), or all of its clients, `kills` times at random moments under load, and goes on with
 * what is on disk. The clients' own state survives their death, as a correct client's does.
 */
export async function runKills(
  victim: "server" | "clients",
  { seed, kills }: { readonly seed: number; readonly kills: number },
): Promise<KillReport> {
  using directory = scratch();
  const args = configured(directory.path, configuration);
  const random = new Random(seed);
  // Where there are cores for more threads, they start under such a load.
  const world = new World(random.branch(), { inOrder: false });
  let server = await up(args);
  let restartMs = 0;
  try {
    await world.begin(addressOf(server));
    for (let kill = 0; kill < kills; kill += 1) {
      await live(addressOf(server), world, random);
      if (victim === "server") {
        server.process.signal("SIGKILL");
        await server.process.ended;
        const startedMs = performance.now();
        server = await up(args);
        restartMs += performance.now() - startedMs;
      } else {
        world.cutAll();
      }
      await world.recover(addressOf(server));
    }
    const problems = await world.settle(addressOf(server));
    const { publishedCount: messages, duplicateCount: duplicates } = world;
    return { messages, duplicates, restartMs: Math.round(restartMs / kills), problems };
  } finally {
    world.cutAll();
    await server[Symbol.asyncDispose]();
  }
}
