/**
 * Whether the broker has become much slower: against Aedes, which is as much at the mercy of the machine, by processor time. A bound is
 * half of the least that was seen in many runs on a machine with eight times more to do than it had cores for, servers just started
 * (`node bench/src/broker/regression.test.ts` prints what it sees). It is there for gross losses; `npm run bench -- --against` is there for the others.
 */
import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";

import { Generator } from "./load/generator.ts";
import { Peers } from "./peers/all.ts";
import { scenarios } from "./scenarios.ts";

/** How many times Aedes's processor time for a message is ours, at the least. */
const bounds = { "fan-out-qos0": 8, "20-pairs-qos1": 5 } as const;
/** A bad moment is not a bad broker: what is measured again is added to what was, so that a lucky moment is not a good one either. */
const roundsMax = 5;
/** A server that had no time delivers next to nothing, and shows nothing. */
const messagesMin = 1_000;

describe("the cost of a message", () => {
  const directory = mkdtempSync(join(tmpdir(), "postern-regression-"));
  const generator = new Generator();
  let peers: Peers | undefined;

  before(async () => {
    peers = await Peers.start({
      directory,
      wanted: (name) => name === "aedes",
      outside: [],
      against: undefined,
      nodeOptions: [],
    });
  });

  after(async () => {
    await generator[Symbol.asyncDispose]();
    await peers?.[Symbol.asyncDispose]();
    rmSync(directory, { recursive: true, force: true });
  });

  /** Adds a short measurement to the sums: of a server's processor time, and of the messages that it delivered. */
  async function measure(name: string, peerName: string, sums: Sums): Promise<void> {
    const scenario = scenarios.find((candidate) => candidate.name === name);
    const peer = peers?.all.find((candidate) => candidate.name === peerName);
    if (scenario?.job.kind !== "messages" || peer === undefined) throw new Error(`no ${name}, ${peerName}`);
    const { load } = scenario.job;
    const target = peer.targetFor({ ...scenario, version: load.version, qos: load.qos });
    if (target === undefined) throw new Error(`${peerName} does not offer ${name}`);
    const figures = await generator.run({
      kind: "messages",
      target,
      load: { ...load, warmSeconds: 0.15, seconds: 0.3 },
    });
    assert.equal(figures.lost, 0);
    sums.nanoseconds += figures.serverNanoseconds;
    sums.count += figures.count;
  }

  for (const [name, bound] of Object.entries(bounds)) {
    it(`is far below that of another broker in Node: ${name}`, async (context) => {
      const [ours, theirs] = [
        { nanoseconds: 0, count: 0 },
        { nanoseconds: 0, count: 0 },
      ];
      const seen: number[] = [];
      for (let round = 0; round < roundsMax && !((seen.at(-1) ?? 0) >= bound); round += 1) {
        await measure(name, "aedes", theirs);
        await measure(name, "postern", ours);
        seen.push(ratioOf(theirs, ours));
      }
      context.diagnostic(`Aedes needs ${seen.map((ratio) => ratio.toFixed(1)).join(", ")} times as much`);
      assert.ok(
        (seen.at(-1) ?? 0) >= bound,
        `Aedes needs only ${seen.map((ratio) => ratio.toFixed(1)).join(", ")} times the processor time of this broker for a message; ${bound} is the least`,
      );
    });
  }
});

interface Sums {
  nanoseconds: number;
  count: number;
}

/** How many times the other's processor time for a message is ours; 0 while one of them has delivered too few to say. */
function ratioOf(theirs: Sums, ours: Sums): number {
  if (Math.min(theirs.count, ours.count) < messagesMin || ours.nanoseconds === 0) return 0;
  return theirs.nanoseconds / theirs.count / (ours.nanoseconds / ours.count);
}
