import { mkdirSync } from "node:fs";
import { join } from "node:path";

import { newDevice } from "@postern/identity/device";
import { dataDirectoryAt } from "@postern/identity/data-directory";
import { startInstallation } from "@postern/identity/testing";

import { indices } from "../load/in-turns.ts";
import type { Figures, IdleLoad, Target } from "../load/job.ts";
import { memoryOf } from "../load/process-figures.ts";
import { rest } from "../load/rest.ts";
import { Postern, type PosternOptions } from "../peers/postern.ts";
import type { Curve } from "../report/report.ts";
import { connectionsMax } from "./room.ts";
import { rulesWith } from "./rules.ts";
import { messageLoad, type Stage } from "./stage.ts";

type Point = Curve["points"][number];

/** What grows, how far, and how a point is measured. */
export interface Growth {
  /** What it is called on the command line. */
  readonly key: string;
  readonly name: string;
  readonly of: string;
  readonly counts: readonly number[];
  /** Takes minutes each: only when asked for. */
  readonly far: readonly number[];
  /** `directory` is empty, and the point's own. */
  point(count: number, stage: Stage, directory: string): Promise<Point>;
}

/** Room for what grows. */
const limits = [
  "retainedMessagesMax: 2000000",
  "retainedBytesMax: 2000000000",
  "queuedMessagesMax: 2000000",
  "queuedBytesMax: 4000000000",
];
const anHour = 3_600;

/** All curves. */
export const growths: readonly Growth[] = [
  {
    key: "subscriptions",
    name: "Subscriptions, all different, with wildcards",
    of: "subscriptions",
    counts: [1_000, 10_000, 100_000],
    far: [1_000_000],
    point: (count, stage, directory) =>
      idle(count, stage, { directory }, { ...subscribers(count), durable: false }),
  },
  {
    key: "durable-subscriptions",
    name: "Subscriptions of durable sessions",
    of: "subscriptions",
    counts: [1_000, 10_000, 100_000],
    far: [1_000_000],
    point: (count, stage, directory) =>
      idle(count, stage, { directory }, { ...subscribers(count), durable: true }),
  },
  {
    key: "connections",
    name: "Idle connections",
    of: "connections",
    counts: [100, 1_000, 10_000],
    far: [connectionsMax()],
    point: (count, stage, directory) =>
      idle(count, stage, { directory }, { clients: count, filtersEach: 0, durable: false }),
  },
  {
    key: "queued",
    name: "Messages that wait for durable sessions",
    of: "queued messages",
    counts: [1_000, 10_000, 100_000],
    far: [1_000_000, 10_000_000],
    async point(count, stage, directory) {
      const options = { directory, limits };
      await using server = await Postern.start(options);
      await rest(server.pids);
      const target = targetOf(server);
      const load = { version: 4, publishers: 20, subscribers: 20, payloadBytes: 64, window: 200 } as const;
      stage.phase("publishing");
      const figures = await stage.generator.run({
        kind: "offline",
        target,
        load: { ...load, seconds: anHour, messagesMax: count, stay: true },
      });
      return {
        count,
        microsecondsEach: figures.serverNanoseconds / 1_000 / figures.count,
        bytesEach: figures.more["bytesEach"] ?? 0,
        messageMicroseconds: await stage.messageCost(target),
        more: await stage.restartCost(server, options, count),
      };
    },
  },
  {
    key: "retained",
    name: "Retained messages",
    of: "retained messages",
    counts: [1_000, 10_000, 100_000],
    far: [1_000_000],
    async point(count, stage, directory) {
      const options = { directory, limits };
      await using server = await Postern.start(options);
      await rest(server.pids);
      const target = targetOf(server);
      stage.phase("publishing");
      const { more } = await stage.generator.run({
        kind: "retained",
        target,
        load: { version: 4, messages: count, payloadBytes: 64, seconds: 0.1 },
      });
      return {
        count,
        microsecondsEach: more["leaveMicroseconds"] ?? 0,
        bytesEach: more["bytesEach"] ?? 0,
        messageMicroseconds: await stage.messageCost(target),
        more: await stage.restartCost(server, options, count),
      };
    },
  },
  {
    key: "registry",
    name: "Devices in the registry, at the start",
    of: "devices",
    counts: [100, 1_000, 10_000],
    far: [100_000],
    point: (count, stage, directory) => startCost(count, stage, (each) => enrolled(directory, each)),
  },
  {
    key: "permissions",
    name: "Permissions of one role, at the start",
    of: "topic filters",
    counts: [1_000, 10_000, 100_000],
    far: [],
    point: (count, stage, directory) =>
      startCost(count, stage, (filters) => Promise.resolve(ruled(directory, filters)), connectionCost),
  },
  {
    key: "devices-permissions",
    name: "Devices and as many permissions, at the start",
    of: "devices and filters",
    counts: [100, 1_000, 10_000],
    far: [100_000],
    point: (count, stage, directory) =>
      startCost(
        count,
        stage,
        async (each) => ({ ...ruled(directory, each), ...(await enrolled(directory, each)) }),
        connectionCost,
      ),
  },
];

function targetOf(server: Postern): Target {
  const target = server.targetFor({ transport: "tcp", version: 4, qos: 1, shared: false, resumption: false });
  if (target === undefined) throw new Error("postern has no plain listener");
  return target;
}

/** So many subscriptions, a thousand a client at the most. */
function subscribers(subscriptions: number): Pick<IdleLoad, "clients" | "filtersEach"> {
  const clients = Math.max(10, subscriptions / 1_000);
  return { clients, filtersEach: subscriptions / clients };
}

/** Clients that do nothing; where they are durable, also what they cost when the server starts again. */
async function idle(
  count: number,
  stage: Stage,
  options: PosternOptions,
  load: Pick<IdleLoad, "clients" | "filtersEach" | "durable">,
): Promise<Point> {
  await using server = await Postern.start({ ...options, limits });
  stage.phase("connecting, then messages beside it");
  const figures = await stage.generator.run({
    kind: "idle",
    target: targetOf(server),
    load: { ...load, version: 4, restSeconds: 3, beside: indices(5).map(messageLoad) },
  });
  const { bytesEach = 0, messageMicroseconds = 0 } = figures.more;
  return {
    count,
    microsecondsEach: figures.serverNanoseconds / 1_000 / count,
    bytesEach: (bytesEach * load.clients) / count,
    messageMicroseconds,
    ...(load.durable ? { more: await stage.restartCost(server, { ...options, limits }, count) } : {}),
  };
}

type StartOptions = Omit<PosternOptions, "directory"> & { readonly directory: string };

/** What each of `count` things costs a server at its start, beside one that has none of them. */
async function startCost(
  count: number,
  stage: Stage,
  prepare: (count: number) => Promise<StartOptions>,
  more?: (server: Postern, stage: Stage) => Promise<Readonly<Record<string, number>>>,
): Promise<Point> {
  stage.phase("what there is at the start");
  const options = await prepare(count);
  const none = await stage.emptyStart();
  // What is done once, at the first start, is done by now.
  const first = await Postern.start(options);
  await first[Symbol.asyncDispose]();
  stage.phase("the start");
  await using server = await Postern.start(options);
  await rest(server.pids);
  const bytes = memoryOf(server.pids).anonymousBytes;
  const messageMicroseconds = await stage.messageCost(targetOf(server));
  return {
    count,
    microsecondsEach: (server.startNanoseconds - none.nanoseconds) / 1_000 / count,
    bytesEach: (bytes - none.ownBytes) / count,
    messageMicroseconds,
    ...(more === undefined ? {} : { more: await more(server, stage) }),
  };
}

/** What a client that comes and subscribes costs a server that has all this. */
async function connectionCost(server: Postern, stage: Stage): Promise<Readonly<Record<string, number>>> {
  stage.phase("clients that connect and subscribe");
  const clients = 1_000;
  const filtersEach = 9;
  const load: IdleLoad = { version: 4, clients, filtersEach, restSeconds: 3, durable: false, beside: [] };
  const figures: Figures = await stage.generator.run({ kind: "idle", target: targetOf(server), load });
  return {
    clientMicroseconds: figures.serverNanoseconds / 1_000 / clients,
    clientBytes: figures.more["bytesEach"] ?? 0,
  };
}

function ruled(directory: string, filters: number): StartOptions {
  return { directory, rules: rulesWith(filters) };
}

async function enrolled(directory: string, devices: number): Promise<StartOptions> {
  const data = join(directory, "data");
  mkdirSync(data, { recursive: true, mode: 0o700 });
  const nowMs = Date.now();
  const { registry } = await startInstallation(dataDirectoryAt(data), { nowMs });
  registry.putAll(
    indices(devices).map((index) =>
      newDevice({ name: `device-${index}`, tenant: "default", roles: ["device"] }, nowMs),
    ),
  );
  registry.close();
  return { directory };
}
