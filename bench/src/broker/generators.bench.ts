/**
 * Whether two load generators see the same: ours, and `mqload`, which is independent of this repository and written in C.
 * `npm run bench -- generators --mqload PATH`
 */
import { execFile } from "node:child_process";
import { promisify } from "node:util";

import { z } from "zod";

import { ScratchDirectory } from "../support/scratch.ts";
import { endOnSignals } from "../support/signals.ts";
import { readOptions } from "../support/usage.ts";
import { Generator } from "./load/generator.ts";
import type { MessageLoad, Target } from "./load/job.ts";
import { Peers } from "./peers/all.ts";
import type { Peer } from "./peers/peer.ts";
import { number, textTable } from "./report/table.ts";
import { scenarios } from "./scenarios.ts";

const run = promisify(execFile);
const seconds = 2;
const warmSeconds = 1;
const modes: Readonly<Record<string, string>> = {
  "fan-out-qos0": "fanout",
  "fan-in-qos0": "fanin",
  "20-pairs-qos0": "pairs",
  "20-pairs-qos1": "pairs",
  "500-pairs-qos0": "pairs",
  "500-pairs-tls": "pairs",
};

endOnSignals();
const { values: options } = readOptions({
  options: { help: { type: "boolean", default: false }, mqload: { type: "string" } },
});

const said = z.object({ out_per_s: z.number(), broker_us_per_out: z.number(), gen_cpu: z.number() });

interface Seen {
  readonly serverMicroseconds: number;
  readonly generatorMicroseconds: number;
  readonly perSecond: number;
}

async function byMqload(path: string, mode: string, target: Target, load: MessageLoad): Promise<Seen> {
  const { publishers, subscribers, qos, payloadBytes, window } = load;
  const { tls } = target;
  const secure = tls === undefined ? [] : ["--tls", tls.ca, "--cert", tls.cert ?? "", "--key", tls.key ?? ""];
  const { stdout } = await run(path, [
    ...["--port", target.port, "--pid", target.pids[0] ?? 0, "--mode", mode, "--pubs", publishers].map(
      String,
    ),
    ...["--subs", subscribers, "--qos", qos, "--size", payloadBytes, "--window", window].map(String),
    ...["--secs", seconds, "--warm", warmSeconds].map(String),
    ...secure,
  ]);
  const {
    out_per_s: perSecond,
    broker_us_per_out: serverMicroseconds,
    gen_cpu: cores,
  } = said.parse(JSON.parse(stdout));
  return { perSecond, serverMicroseconds, generatorMicroseconds: (cores * 1_000_000) / perSecond };
}

async function byOurs(generator: Generator, target: Target, load: MessageLoad): Promise<Seen> {
  const figures = await generator.run({ kind: "messages", target, load });
  const count = Math.max(1, figures.count);
  return {
    perSecond: figures.count / figures.seconds,
    serverMicroseconds: figures.serverNanoseconds / 1_000 / count,
    generatorMicroseconds: figures.generatorNanoseconds / 1_000 / count,
  };
}

async function both(path: string, name: string, peer: Peer, generator: Generator): Promise<string[]> {
  const scenario = scenarios.find((candidate) => candidate.name === name);
  if (scenario?.job.kind !== "messages") throw new Error(`no scenario ${name}`);
  const load: MessageLoad = { ...scenario.job.load, warmSeconds, seconds };
  const target = peer.targetFor({ ...scenario, version: load.version, qos: load.qos });
  if (target === undefined) throw new Error(`${peer.name} does not offer ${name}`);
  const ours = await byOurs(generator, target, load);
  const theirs = await byMqload(path, modes[name] ?? "", target, load);
  return [
    name,
    peer.name,
    ...[ours.serverMicroseconds, theirs.serverMicroseconds].map((value) => number(value, 2)),
    ...[ours.perSecond, theirs.perSecond].map((value) => number(value, 0)),
    ...[ours.generatorMicroseconds, theirs.generatorMicroseconds].map((value) => number(value, 2)),
  ];
}

async function main(path: string): Promise<void> {
  using scratch = new ScratchDirectory("postern-generators");
  const directory = scratch.path;
  await using peers = await Peers.start({
    directory,
    wanted: (name) => name === "mosquitto",
    outside: [],
    against: undefined,
    nodeOptions: [],
  });
  await using generator = new Generator();
  const rows: string[][] = [];
  for (const name of Object.keys(modes))
    for (const peer of peers.all) rows.push(await both(path, name, peer, generator));
  const heads = ["CPU µs", "by mqload", "a second", "by mqload", "generator µs", "mqload µs"];
  console.log(textTable(rows, ["scenario", "peer", ...heads]));
}

if (options.help) console.log("Usage: npm run bench -- generators --mqload PATH");
else if (options.mqload === undefined)
  console.log("mqload is not given (--mqload PATH), so there is nothing to compare with.");
else await main(options.mqload);
