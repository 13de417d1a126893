/**
 * What threads that carry connections are worth: the same server with one and with more of them. `npm run bench -- workers [--help]`
 *
 * On a machine whose cores are taken, or needed for the load, no rate can show it. What shows it is the thread that has most to do:
 * where there are cores enough, the server is as fast as that one.
 */
import { mkdirSync } from "node:fs";
import { join } from "node:path";

import { ScratchDirectory } from "../support/scratch.ts";
import { endOnSignals } from "../support/signals.ts";
import { positive, refuseDocumentOfPart, runBenchmark, readOptions } from "../support/usage.ts";
import { compare } from "./comparison.ts";
import { Generator } from "./load/generator.ts";
import { Postern } from "./peers/postern.ts";
import { writeDocument } from "./report/document.ts";
import { machine } from "./report/machine.ts";
import type { Scaling } from "./report/report.ts";
import { scalingOf } from "./report/scaling-section.ts";
import { milliseconds, number, textTable } from "./report/table.ts";
import { scenarios } from "./scenarios.ts";

const help = `Usage: npm run bench -- workers [OPTIONS]

  --workers N,…     numbers of threads beside one (2)
  --only NAME,…     these scenarios
  --rounds N        rounds that each is measured in (3)
  --seconds N       of each measurement (1)
  --write-docs      writes docs/benchmarks.md anew, with these figures
`;

/** Where sockets and TLS are most of the work, and where they are not. */
const measured = [
  "fan-out-qos0",
  "fan-out-tls",
  "fan-in-qos0",
  "20-pairs-qos0",
  "20-pairs-qos1",
  "20-pairs-tls",
  "500-pairs-qos0",
  "500-pairs-qos1",
  "500-pairs-tls",
  "64-kb",
  "64-kb-tls",
  "durable-online",
  "websocket",
  "latency",
  "connect",
  "connect-tls",
];

endOnSignals();
const { values: options } = readOptions({
  options: {
    help: { type: "boolean", default: false },
    workers: { type: "string", default: "2" },
    only: { type: "string" },
    rounds: { type: "string", default: "3" },
    seconds: { type: "string", default: "1" },
    "write-docs": { type: "boolean", default: false },
  },
});

async function main(): Promise<void> {
  refuseDocumentOfPart(options);
  const names = options.only?.split(",") ?? measured;
  const unknown = names.filter((name) => !measured.includes(name));
  if (unknown.length > 0)
    throw new RangeError(`there is no scenario ${unknown.join(", ")} here: ${measured.join(", ")}`);
  const rounds = positive("rounds", options.rounds, 600);
  const seconds = positive("seconds", options.seconds, 600);
  const counts = [1, ...options.workers.split(",").map((text) => positive("workers", text, 16))];
  using scratch = new ScratchDirectory("postern-workers");
  const directory = scratch.path;
  const where = machine();
  const found: Scaling[] = [];
  await using stack = new AsyncDisposableStack();
  const generator = stack.use(new Generator());
  const peers: Postern[] = [];
  for (const workers of counts) {
    const own = join(directory, String(workers));
    mkdirSync(own);
    const name = String(workers);
    peers.push(stack.use(await Postern.start({ directory: own, name, more: [`workers: ${workers}`] })));
  }
  await compare({
    scenarios: scenarios.filter(({ name }) => names.includes(name)),
    peers,
    startAnew: () => Promise.reject(new Error("no scenario here needs a server of its own")),
    generator,
    rounds,
    warmSeconds: 0.5,
    seconds,
    onStep: () => {},
    onScenario: (_, results) => {
      const scaling = results.map((result) => scalingOf(result, results[0]));
      console.log(textTable(scaling.map(row), found.length === 0 ? headings : headings.map(() => "")).trim());
      found.push(...scaling);
    },
    onProblem: (problem) => console.error(problem),
  });
  if (options["write-docs"]) writeDocument({ scaling: { machine: where, found } });
}

const headings = [
  "scenario".padEnd(16),
  "workers",
  "CPU µs",
  "busiest µs",
  "x one",
  "per s".padStart(9),
  "p50 ms",
  "p99 ms",
];

function row(scaling: Scaling): string[] {
  return [
    scaling.scenario.padEnd(16),
    String(scaling.workers).padEnd(7),
    number(scaling.cpuMicroseconds, 2).padStart(6),
    number(scaling.busiestMicroseconds, 2).padStart(10),
    number(scaling.timesOne, 2).padStart(5),
    number(scaling.perSecond, 0).padStart(9),
    milliseconds(scaling.p50Microseconds).padStart(6),
    milliseconds(scaling.p99Microseconds).padStart(6),
  ];
}

if (options.help) console.log(help);
else await runBenchmark(main);
