import { mkdirSync } from "node:fs";
import { join } from "node:path";

import { newDevice } from "@postern/identity/device";
import { dataDirectoryAt } from "@postern/identity/data-directory";
import { startInstallation } from "@postern/identity/testing";

import type { Generator } from "./load/generator.ts";
import type { Figures, MessageLoad, Target } from "./load/job.ts";
import { memoryOf } from "./load/process-figures.ts";
import { Postern } from "./peers/postern.ts";
import type { Curve } from "./report/report.ts";
import { pairs } from "./scenarios.ts";

type Point = Curve["points"][number];

/** What grows, how far, and how a point is measured. */
export interface Growth {
  readonly name: string;
  readonly of: string;
  readonly counts: readonly number[];
  /** Takes minutes each: only when asked for. */
  readonly far: readonly number[];
  point(count: number, stage: Stage): Promise<Point>;
}

interface Stage {
  readonly directory: string;
  readonly generator: Generator;
}

const probe: MessageLoad = { ...pairs, warmSeconds: 1, seconds: 1 };
/** Room for what grows. */
const limits = [
  "retainedMessagesMax: 2000000",
  "retainedBytesMax: 2000000000",
  "queuedMessagesMax: 2000000",
  "queuedBytesMax: 4000000000",
];
const aQuarterOfAnHour = 900;

function targetOf(server: Postern): Target {
  const target = server.targetFor({ transport: "tcp", version: 4, qos: 1, shared: false, resumption: false });
  if (target === undefined) throw new Error("postern has no plain listener");
  return target;
}

function pointOf(count: number, figures: Figures, messageMicroseconds: number): Point {
  return {
    count,
    microsecondsEach: figures.serverNanoseconds / 1_000 / count,
    bytesEach: figures.more["bytesEach"] ?? 0,
    messageMicroseconds,
  };
}

async function messageCost(target: Target, generator: Generator): Promise<number> {
  const { serverNanoseconds, count } = await generator.run({ kind: "messages", target, load: probe });
  return serverNanoseconds / 1_000 / count;
}

function subscribed(clientsOf: (count: number) => number, filtersEachOf: (count: number) => number) {
  return async (count: number, { directory, generator }: Parameters<Growth["point"]>[1]): Promise<Point> => {
    await using server = await Postern.start({ directory, limits });
    const figures = await generator.run({
      kind: "idle",
      target: targetOf(server),
      load: {
        version: 4,
        clients: clientsOf(count),
        filtersEach: filtersEachOf(count),
        restSeconds: 2,
        beside: probe,
      },
    });
    const { bytesEach = 0, messageMicroseconds = 0 } = figures.more;
    const all = bytesEach * clientsOf(count);
    return {
      ...pointOf(count, figures, messageMicroseconds),
      bytesEach: all / count,
    };
  };
}

/** All curves. */
export const growths: readonly Growth[] = [
  {
    name: "Subscriptions, all different, with wildcards",
    of: "subscriptions",
    counts: [1_000, 10_000, 100_000],
    far: [1_000_000],
    point: subscribed(
      (count) => Math.max(10, count / 1_000),
      (count) => count / Math.max(10, count / 1_000),
    ),
  },
  {
    name: "Idle connections",
    of: "connections",
    counts: [100, 1_000, 10_000],
    far: [19_000],
    point: subscribed(
      (count) => count,
      () => 0,
    ),
  },
  {
    name: "Messages that wait for durable sessions",
    of: "queued messages",
    counts: [1_000, 10_000, 100_000],
    far: [1_000_000, 10_000_000],
    async point(count, { directory, generator }) {
      await using server = await Postern.start({ directory, limits });
      const target = targetOf(server);
      const load = { version: 4, publishers: 20, subscribers: 20, payloadBytes: 64, window: 200 } as const;
      const figures = await generator.run({
        kind: "offline",
        target,
        load: { ...load, seconds: aQuarterOfAnHour, messagesMax: count, stay: true },
      });
      const each = { ...figures, serverNanoseconds: (figures.serverNanoseconds * count) / figures.count };
      return pointOf(count, each, await messageCost(target, generator));
    },
  },
  {
    name: "Retained messages",
    of: "retained messages",
    counts: [1_000, 10_000, 100_000],
    far: [1_000_000],
    async point(count, { directory, generator }) {
      await using server = await Postern.start({ directory, limits });
      const target = targetOf(server);
      const { more } = await generator.run({
        kind: "retained",
        target,
        load: { version: 4, messages: count, payloadBytes: 64, seconds: 0.1 },
      });
      return {
        count,
        microsecondsEach: more["leaveMicroseconds"] ?? 0,
        bytesEach: more["bytesEach"] ?? 0,
        messageMicroseconds: await messageCost(target, generator),
      };
    },
  },
  {
    name: "Devices in the registry, at the start of the server",
    of: "devices",
    counts: [100, 1_000, 10_000],
    far: [100_000],
    point: (count, stage) => startCost(count, stage, started),
  },
  {
    name: "Permissions of one role, at the start of the server",
    of: "topic filters",
    counts: [1_000, 10_000, 100_000],
    far: [],
    point: (count, stage) => startCost(count, stage, ruled),
  },
];

const filtersPerRule = 100;

/** Rules with so many filters, none of them about what the load publishes; short, as a file may have a megabyte. */
function rulesWith(filters: number): string {
  let text = "";
  for (let at = 0; at < filters; at += filtersPerRule) {
    const topics = Array.from(
      { length: Math.min(filtersPerRule, filters - at) },
      (_, index) => `"r/${(at + index).toString(36)}"`,
    );
    text += `      - topics: [${topics.join(",")}]\n        allow: [publish]\n`;
  }
  return text;
}

async function ruled(directory: string, filters: number): Promise<Started> {
  mkdirSync(directory, { recursive: true });
  const server = await Postern.start({ directory, rules: rulesWith(filters) });
  return { server, bytes: memoryOf(server.pids).anonymousBytes };
}

interface Started {
  readonly server: Postern;
  readonly bytes: number;
}

/** What each of `count` things costs a server at its start, beside one that has none of them. */
async function startCost(
  count: number,
  { directory, generator }: Stage,
  start: (directory: string, count: number) => Promise<Started>,
): Promise<Point> {
  const none = await start(join(directory, "none"), 0);
  await none.server[Symbol.asyncDispose]();
  const { server, bytes } = await start(join(directory, "all"), count);
  await using all = server;
  return {
    count,
    microsecondsEach: (all.startNanoseconds - none.server.startNanoseconds) / 1_000 / count,
    bytesEach: (bytes - none.bytes) / count,
    messageMicroseconds: await messageCost(targetOf(all), generator),
  };
}

async function started(directory: string, devices: number): Promise<Started> {
  const data = join(directory, "data");
  mkdirSync(data, { recursive: true, mode: 0o700 });
  const nowMs = Date.now();
  const { registry } = await startInstallation(dataDirectoryAt(data), { nowMs });
  registry.putAll(
    Array.from({ length: devices }, (_, index) =>
      newDevice({ name: `device-${index}`, tenant: "default", roles: ["device"] }, nowMs),
    ),
  );
  registry.close();
  const server = await Postern.start({ directory });
  return { server, bytes: memoryOf(server.pids).anonymousBytes };
}
