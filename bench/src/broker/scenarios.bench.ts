/**
 * Brokers side by side, on the same load in the same run. `npm run bench -- scenarios [SCENARIO…] [OPTIONS]`; a scenario may end in
 * an asterisk. `--help` tells the options.
 */
import { existsSync, writeFileSync } from "node:fs";
import { resolve } from "node:path";

import { ScratchDirectory } from "../support/scratch.ts";
import { endOnSignals } from "../support/signals.ts";
import { positive, runBenchmark, readOptions } from "../support/usage.ts";
import { compare } from "./comparison.ts";
import { Generator } from "./load/generator.ts";
import { peerNames, Peers } from "./peers/all.ts";
import { parseOutside } from "./peers/outside.ts";
import { posternIn } from "./peers/postern.ts";
import { asJson, writeDocument } from "./report/document.ts";
import { machine } from "./report/machine.ts";
import { cpuPlot } from "./report/plot.ts";
import { summarize, type Summary } from "./report/summary.ts";
import { tableRows, textTable } from "./report/table.ts";
import { latencyVerdict } from "./report/verdict.ts";
import { scenarios, type Scenario } from "./scenarios.ts";

const help = `Usage: npm run bench -- [SCENARIO…] [OPTIONS]

  SCENARIO               some of those that --list names; "500-pairs*" means all that begin so
  --list                 the scenarios
  --rounds N             rounds that each peer is measured in (3)
  --seconds N            of each measurement (0.7)
  --only NAME,…          these peers beside postern: ${peerNames.join(", ")}
  --peers                RabbitMQ, too, which is big and slow to start
  --broker NAME=URL[,pid=N]
                         a broker that runs already: mqtt://host:port, mqtts, ws or wss; may be given several times
  --against DIRECTORY    another copy of this repository, to see what a change is worth
  --json FILE            writes all figures there
  --svg FILE             writes a plot there
  --write-docs           writes docs/benchmarks.md anew, with these figures in the place of the same scenarios'
  --profile DIRECTORY    writes a processor profile of postern there, for the developer tools of a browser
`;

endOnSignals();
const { values: options, positionals } = readOptions({
  allowPositionals: true,
  options: {
    help: { type: "boolean", default: false },
    list: { type: "boolean", default: false },
    rounds: { type: "string", default: "3" },
    seconds: { type: "string", default: "0.7" },
    only: { type: "string" },
    broker: { type: "string", multiple: true, default: [] },
    peers: { type: "boolean", default: false },
    against: { type: "string" },
    json: { type: "string" },
    svg: { type: "string" },
    "write-docs": { type: "boolean", default: false },
    profile: { type: "string" },
  },
});

function wantedScenarios(): readonly Scenario[] {
  if (positionals.length === 0) return scenarios;
  const unknown = positionals.filter((pattern) => !scenarios.some(({ name }) => matches(name, pattern)));
  if (unknown.length > 0)
    throw new RangeError(`there is no scenario ${unknown.join(", ")}; --list names them`);
  return scenarios.filter(({ name }) => positionals.some((pattern) => matches(name, pattern)));
}

function matches(name: string, pattern: string): boolean {
  return pattern.endsWith("*") ? name.startsWith(pattern.slice(0, -1)) : name === pattern;
}

function progress(text: string): void {
  if (process.stderr.isTTY) process.stderr.write(`\r\u001b[K${text}`);
}

async function main(): Promise<void> {
  const wanted = wantedScenarios();
  const rounds = positive("rounds", options.rounds, 600);
  const seconds = positive("seconds", options.seconds, 600);
  const outside = options.broker.map(parseOutside);
  const only = options.only?.split(",");
  const against = options.against === undefined ? undefined : resolve(options.against);
  if (against !== undefined && !existsSync(posternIn(against)))
    throw new RangeError(
      `--against wants the directory of another copy of this repository; ${posternIn(against)} is not there`,
    );
  using scratch = new ScratchDirectory("postern-bench");
  const directory = scratch.path;
  await using peers = await Peers.start({
    directory,
    wanted: (name) => only?.includes(name) ?? (name !== "rabbitmq" || options.peers),
    outside,
    against,
    nodeOptions:
      options.profile === undefined ? [] : ["--cpu-prof", `--cpu-prof-dir=${resolve(options.profile)}`],
  });
  await using generator = new Generator();
  const where = machine();
  console.log(peers.all.map(({ name, version }) => `${name} ${version}`).join(", "));
  const summaries: Summary[] = [];
  await compare({
    scenarios: wanted,
    peers: peers.all,
    startAnew: (name) => peers.startAnew(name),
    generator,
    rounds,
    warmSeconds: 0.3,
    seconds,
    onStep: ({ done, all, text }) => progress(`${done} of ${all}: ${text}`),
    onScenario(scenario, found) {
      const ours = found.find(({ peer }) => peer === "postern")?.rounds;
      const some = found.map(({ peer, rounds: figures }) => summarize(scenario.name, peer, figures, ours));
      summaries.push(...some);
      progress("");
      console.log(`${textTable(tableRows(some))}\n`);
      for (const summary of some) {
        const verdict = latencyVerdict(summary, summaries);
        if (verdict !== "") console.log(`${summary.peer}: ${verdict}`);
      }
    },
    onProblem(problem) {
      progress("");
      console.error(`!! ${problem}`);
    },
  });
  for (const { name } of outside) {
    if (summaries.some(({ peer }) => peer === name)) continue;
    console.error(`${name} was asked for, and nothing of it could be measured: see above why`);
    process.exitCode = 1;
  }
  const versions = Object.fromEntries(peers.all.map(({ name, version }) => [name, version]));
  const report = { machine: where, rounds, seconds, versions, summaries };
  if (options.json !== undefined) writeFileSync(options.json, asJson(report));
  if (options.svg !== undefined)
    writeFileSync(
      options.svg,
      cpuPlot(summaries, "Processor time of the server for each of what is counted"),
    );
  if (options["write-docs"]) writeDocument({ scenarios: report });
}

if (options.help) console.log(help);
else if (options.list) console.log(scenarios.map(({ name }) => name).join("\n"));
else await runBenchmark(main);
