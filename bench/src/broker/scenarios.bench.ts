/**
 * Brokers side by side, on the same load in the same run. `npm run bench -- scenarios [SCENARIO…] [OPTIONS]`; a scenario may end in
 * an asterisk. `--help` tells the options.
 */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";

import { compare, type Result } from "./comparison.ts";
import { Generator } from "./load/generator.ts";
import { Peers } from "./peers/all.ts";
import { parseOutside } from "./peers/outside.ts";
import { machine } from "./report/machine.ts";
import { tableRows, textTable } from "./report/table.ts";
import { scenarios, type Scenario } from "./scenarios.ts";

const help = `Usage: npm run bench -- [SCENARIO…] [OPTIONS]

  SCENARIO               some of those that --list names; "500-pairs*" means all that begin so
  --list                 the scenarios
  --rounds N             rounds that each peer is measured in (3)
  --seconds N            of each measurement (1)
  --only NAME,…          these peers beside postern: mosquitto, aedes, relay
  --broker NAME=URL[,pid=N]
                         a broker that runs already: mqtt://host:port, mqtts, ws or wss; may be given several times
  --json FILE            writes all figures there
`;

const { values: options, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    help: { type: "boolean", default: false },
    list: { type: "boolean", default: false },
    rounds: { type: "string", default: "3" },
    seconds: { type: "string", default: "1" },
    only: { type: "string" },
    broker: { type: "string", multiple: true, default: [] },
    json: { type: "string" },
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
  const outside = options.broker.map(parseOutside);
  const only = options.only?.split(",");
  const directory = mkdtempSync(join(tmpdir(), "postern-bench-"));
  try {
    await using peers = await Peers.start({
      directory,
      wanted: (name) => only === undefined || only.includes(name),
      outside,
    });
    await using generator = new Generator();
    const where = machine();
    console.log(peers.all.map(({ name, version }) => `${name} ${version}`).join(", "));
    const results = await compare({
      scenarios: wanted,
      peers: peers.all,
      generator,
      rounds: Number(options.rounds),
      warmSeconds: 0.4,
      seconds: Number(options.seconds),
      onStep: ({ done, all, text }) => progress(`${done} of ${all}: ${text}`),
      onScenario(_scenario, found) {
        progress("");
        console.log(textTable(tableRows(found, "postern")));
      },
      onProblem(problem) {
        progress("");
        console.error(`!! ${problem}`);
      },
    });
    if (options.json !== undefined) writeFileSync(options.json, json(where, results));
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}

function json(where: ReturnType<typeof machine>, results: readonly Result[]): string {
  return `${JSON.stringify({ machine: where, results }, undefined, 2)}\n`;
}

if (options.help) console.log(help);
else if (options.list) console.log(scenarios.map(({ name }) => name).join("\n"));
else {
  try {
    await main();
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
    console.error(error.message);
    process.exitCode = 2;
  }
}
