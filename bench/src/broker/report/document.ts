import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

import { groups, scenarios, type Group } from "../scenarios.ts";
import { growthPlot } from "./growth-plot.ts";
import { growthSection } from "./growth-section.ts";
import { growths } from "../growth/curves.ts";
import { cpuPlot } from "./plot.ts";
import {
  readGrowthReport,
  readScalingReport,
  readScenarioReport,
  type Curve,
  type GrowthReport,
  type ScalingReport,
  type ScenarioReport,
} from "./report.ts";
import { scalingSection } from "./scaling-section.ts";
import type { Summary } from "./summary.ts";
import { milliseconds, number } from "./table.ts";
import { latencyVerdict } from "./verdict.ts";

const docs = fileURLToPath(new URL("../../../../docs/", import.meta.url));
const folder = join(docs, "benchmarks");
const scenarioFile = join(folder, "scenarios.json");
const growthFile = join(folder, "growth.json");
const scalingFile = join(folder, "scaling.json");

/** Stores what was measured, and writes docs/benchmarks.md anew from all that is stored. */
export function writeDocument(measured: {
  readonly scenarios?: ScenarioReport;
  readonly growth?: GrowthReport;
  readonly scaling?: ScalingReport;
}): void {
  mkdirSync(folder, { recursive: true });
  if (measured.scenarios !== undefined)
    writeJson(scenarioFile, joined(readScenarioReport(scenarioFile), measured.scenarios));
  if (measured.growth !== undefined)
    writeJson(growthFile, joinedGrowth(readGrowthReport(growthFile), measured.growth));
  if (measured.scaling !== undefined) writeJson(scalingFile, measured.scaling);
  const report = readScenarioReport(scenarioFile);
  const growth = readGrowthReport(growthFile);
  if (report !== undefined) {
    const shapes = report.summaries.filter(({ scenario }) => groupOf(scenario) === "shapes");
    writeFileSync(
      join(folder, "shapes.svg"),
      cpuPlot(shapes, "Processor time of the server for each delivered message"),
    );
  }
  if (growth !== undefined) writeFileSync(join(folder, "growth.svg"), growthPlot(growth.curves));
  writeFileSync(join(docs, "benchmarks.md"), textOf(report, growth, readScalingReport(scalingFile)));
}

/** What was measured again takes the place of what stood there; other scenarios stay. */
function joined(before: ScenarioReport | undefined, now: ScenarioReport): ScenarioReport {
  const again = new Set(now.summaries.map(({ scenario }) => scenario));
  const kept = (before?.summaries ?? []).filter(({ scenario }) => !again.has(scenario));
  const run = runOf(now);
  const all = [...kept, ...now.summaries.map((summary) => ({ ...summary, run }))];
  return {
    ...now,
    versions: { ...before?.versions, ...now.versions },
    summaries: scenarios.flatMap(({ name }) => all.filter(({ scenario }) => scenario === name)),
  };
}

/** The same for curves; of those that the benchmark no longer has nothing stays. */
function joinedGrowth(before: GrowthReport | undefined, now: GrowthReport): GrowthReport {
  const run = runOf(now);
  return {
    machine: now.machine,
    curves: growths.flatMap(
      ({ name }) =>
        measuredIn(now, name, run) ??
        (before === undefined ? undefined : measuredIn(before, name, runOf(before))) ??
        [],
    ),
  };
}

/** The curve of that name, and of which run it is. */
function measuredIn({ curves }: GrowthReport, name: string, run: string): Curve | undefined {
  const found = curves.find((curve) => curve.name === name);
  return found === undefined ? undefined : { ...found, run: found.run ?? run };
}

function runOf({ machine }: Pick<ScenarioReport, "machine">): string {
  return `${machine.date} UTC, commit ${machine.commit}`;
}

/** A sentence on the scenarios that the last run did not measure: what is said of it is not true of them. */
function ofOtherRuns(report: ScenarioReport): string[] {
  const last = runOf(report);
  const others = Map.groupBy(
    report.summaries.filter(({ run }) => run !== last),
    ({ run }) => run,
  );
  if (others.size === 0) return [];
  const told = [...others].map(([run, summaries]) => {
    const names = [...new Set(summaries.map(({ scenario }) => `\`${scenario}\``))];
    return `${names.join(", ")} (${run ?? "of an earlier day"})`;
  });
  return [`Not of that run: ${told.join("; ")}.`];
}

export function asJson(value: ScenarioReport | GrowthReport | ScalingReport): string {
  return `${JSON.stringify(value, undefined, 1)}\n`;
}

function writeJson(path: string, value: ScenarioReport | GrowthReport | ScalingReport): void {
  writeFileSync(path, asJson(value));
}

function groupOf(name: string): Group | undefined {
  return scenarios.find((scenario) => scenario.name === name)?.group;
}

function textOf(
  report: ScenarioReport | undefined,
  growth: GrowthReport | undefined,
  scaling: ScalingReport | undefined,
): string {
  return [
    head,
    ...(report === undefined ? [] : [scenariosSection(report)]),
    ...(scaling === undefined ? [] : [scalingSection(scaling)]),
    ...(growth === undefined ? [] : [growthSection(growth)]),
    method,
  ].join("\n");
}

function scenariosSection(report: ScenarioReport): string {
  const { machine, rounds, seconds, versions } = report;
  const peers = Object.keys(versions);
  const parts = [
    "## Brokers side by side",
    "",
    `\`npm run bench -- --write-docs\` on ${machine.date} UTC: ${machine.processor}, ${machine.cores} cores, ${machine.memoryGigabytes} GB, ${machine.system}, Node ${machine.node}, commit ${machine.commit}; load of the machine before the run ${machine.loadBefore}.`,
    `${rounds} rounds of ${seconds} s. ${peers.map((name) => `${name} ${versions[name]}`).join(", ")}. All figures: [scenarios.json](benchmarks/scenarios.json).`,
    ...ofOtherRuns(report),
    "",
    "![Processor time of the server for each delivered message](benchmarks/shapes.svg)",
    "",
  ];
  for (const [group, { title, unit }] of Object.entries(groups)) {
    const own = report.summaries.filter(({ scenario }) => groupOf(scenario) === group);
    if (own.length === 0) continue;
    parts.push(
      `### ${title}`,
      "",
      `Processor time is the server's for each ${unit}, in microseconds. "× ours" is how many times Postern's that is.`,
      "",
      "| scenario | peer | CPU µs | × ours | a second | p50 ms | p99 ms | p99.9 ms | memory MB | more |",
      "|---|---|---|---|---|---|---|---|---|---|",
      ...own.map((summary) =>
        [
          "",
          `\`${summary.scenario}\``,
          summary.peer,
          number(summary.cpuMicroseconds, 2),
          number(summary.timesOurs, 2),
          number(summary.perSecond, 0),
          milliseconds(summary.p50Microseconds),
          milliseconds(summary.p99Microseconds),
          milliseconds(summary.p999Microseconds),
          number(summary.residentBytes / 1_048_576, 0),
          moreOf(summary, own),
          "",
        ]
          .join(" | ")
          .trim(),
      ),
      "",
    );
  }
  return parts.join("\n");
}

/** What else is known, in words. */
function moreOf(summary: Summary, beside: readonly Summary[]): string {
  const { more, lost } = summary;
  const told: Readonly<Record<string, (value: number) => string>> = {
    bytesEach: (value) => `${number(value / 1_024, 1)} KB each`,
    resumedShare: (value) => (value === 0 ? "" : `${number(value * 100, 0)} % resumed`),
    leaveMicroseconds: (value) => `${number(value, 1)} µs to leave one`,
    drainedPerSecond: (value) => `${number(value, 0)} a second when they came back`,
  };
  return [
    ...(lost > 0 ? [`${lost} lost`] : []),
    ...Object.entries(more).map(([name, value]) => told[name]?.(value) ?? ""),
    latencyVerdict(summary, beside),
  ]
    .filter((text) => text !== "")
    .join(", ");
}

const head = `# Benchmarks

What a message, a connection and a subscription cost, measured by one command that anybody can run: \`npm run bench\`. This page is written by that command
(\`--write-docs\`), and so are all numbers in it.

| command | what it measures |
|---|---|
| \`npm run bench\` | this broker, Mosquitto, NATS, Aedes and a plain relay side by side |
| \`npm run bench -- 500-pairs-tls fan-out*\` | some of its scenarios; \`-- --list\` names them |
| \`npm run bench -- --broker flashmq=mqtt://127.0.0.1:1884,pid=4711\` | any broker that runs already beside them, here one whose process is 4711 |
| \`npm run bench -- --peers\` | RabbitMQ too, which Debian has in fifteen packages |
| \`npm run bench -- --against ../other-checkout\` | what a change is worth: another checkout of this repository in the same run |
| \`npm run bench -- 500-pairs-tls --profile DIRECTORY\` | where the time goes: a processor profile for the developer tools of a browser |
| \`npm run bench -- workers\` | what more threads are worth (\`workers: N\`) |
| \`npm run bench -- growth\` | how cost grows with what the server holds; \`--far\` to millions of it, \`growth queued retained\` some of its curves |
| \`npm run bench -- list\` | everything else: the gate, the protection of payloads |
`;

const method = `## Method

- **Processor time, not speed.** A machine with other work to do makes every wall-clock figure smaller, and each differently. What the scheduler says that a server's threads were
  given (\`/proc/PID/task/*/schedstat\`), divided by the messages that arrived meanwhile, moves far less. Rates and latencies stand beside it, and are worth what the machine's load was.
- **In the same run.** Servers are running all at once and are measured in turns; each round begins with another one. A ratio compares figures of the same round, and the median of the
  ratios is shown. One round before is not counted.
- **Postern as it is.** \`postern up\` with its default configuration and, beside it, listeners on loopback whose clients have a role of \`permissions.yaml\`. Authentication, permissions,
  metrics and audit log are on, sessions are on disk. \`sessionsPerIdentityMax\` is raised, because all TLS clients present the same certificate.
- **The others at their fastest.** Mosquitto, NATS, RabbitMQ and Aedes let everybody in and permit everything. Mosquitto's queue has no bound and 1,000 messages may be in flight, so that it loses none.
- **The same TLS.** All have the same certificates (P-256), TLS 1.3 alone, and ask for the client's. Postern and the Node servers agree on X25519 with ML-KEM, which Debian's Mosquitto does not know:
  their handshakes do more.
- **The relay** passes on the bytes of the same messages and looks at none of them, with nothing but Node's sockets. It shows what the runtime costs before a broker does anything. It does not wait for the end
  of a turn as the broker does, and so can cost more where many send to one. To connections that come and go, or are idle, it answers CONNECT and SUBSCRIBE and no more.
- **The load generator** (\`bench/src/broker/load\`) is one process that builds its packets before the load begins, reads in bulk, and says what it costs itself. It keeps a bound on what is on its way: 64 messages for
  each publisher, 4 with 500 pairs. Latency is from the write to the read, under that load; in \`latency\` scenarios from when the message was due, all of them.
  The generator sleeps in the kernel until then, and says how late it was itself. They are judged: 99 of 100 messages within a millisecond, beside the relay, because a machine with other work to do cannot show it.
- **Checked against another generator.** \`gcc -O2 mqload.c -lssl -lcrypto -o mqload\` makes an independent one in C; \`npm run bench -- generators --mqload PATH\` measures the same with both.

## What this does not show

- Networks: everything is on loopback, where a system call costs more than the wire, and nothing is ever lost.
- Several cores, beside other brokers: each server has one thread for clients there.
- Real applications: payloads do not compress, topics do not change, and clients answer at once.
- Absolute numbers of another machine. Ratios carry over better, and not always well.
`;
