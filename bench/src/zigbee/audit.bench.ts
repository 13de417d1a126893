/**
 * How fast captures are audited, against tshark on the same file: a simulated mesh, every key known, every frame opened and its integrity
 * code checked. `npm run bench -- zigbee-audit [--help]`
 */
import { spawnSync } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

import { z } from "zod";

import { machine } from "../broker/report/machine.ts";
import { ScratchDirectory } from "../support/scratch.ts";
import { endOnSignals } from "../support/signals.ts";
import { readOptions } from "../support/usage.ts";
import { type Run, runProgram } from "./program-run.ts";
import { type Recording, record } from "./recording.ts";

const help = `Usage: npm run bench -- zigbee-audit [OPTIONS]

  --frames N      frames of the capture (200000)
  --rounds N      each is measured so often, in turns; the median counts (5)
  --long          a capture ten times as long as well: does memory stay the same?
  --write-docs    writes the figures into docs/ZIGBEE.md
`;

const postern = fileURLToPath(new URL("../../../packages/cli/bin/postern.js", import.meta.url));
const root = fileURLToPath(new URL("../../..", import.meta.url));
const document = fileURLToPath(new URL("../../../docs/ZIGBEE.md", import.meta.url));
/** What the reference measured tshark with: its fastest way to give fields of opened frames. */
const tsharkFields = ["frame.number", "wpan.fcs_ok", "zbee.sec.counter", "zbee.sec.key", "zbee_zcl.cmd.id"];

const runsSchema = z.array(
  z.strictObject({ wallSeconds: z.number(), processorSeconds: z.number(), peakMegabytes: z.number() }),
);

endOnSignals();
const { values: options } = readOptions({
  options: {
    help: { type: "boolean", default: false },
    frames: { type: "string", default: "200000" },
    rounds: { type: "string", default: "5" },
    long: { type: "boolean", default: false },
    "write-docs": { type: "boolean", default: false },
  },
});

/** The audit without the program around it, in a process that has done nothing else: what it costs when the engine has compiled it. */
function auditsInProcess({ pcap, keyFile, frames }: Recording, rounds: number): readonly Run[] {
  const program = fileURLToPath(new URL("./warm-audit-program.ts", import.meta.url));
  const args = [program, pcap, keyFile, String(frames), String(rounds)];
  const { stdout, status } = spawnSync(process.execPath, args, {
    encoding: "utf8",
    stdio: ["ignore", "pipe", "inherit"],
  });
  if (status !== 0) throw new Error(`the audit ended with ${String(status)}`);
  return runsSchema.parse(JSON.parse(stdout));
}

/** Makes a release in `directory` and returns its program. */
function buildRelease(directory: string): string {
  const args = ["run", "--silent", "build", "--", directory];
  const { status } = spawnSync("npm", args, { cwd: root, stdio: ["ignore", "ignore", "inherit"] });
  if (status !== 0) throw new Error(`npm run build ended with ${String(status)}`);
  return join(directory, "bin", "postern.js");
}

function auditProgram(program: string, { pcap, keyFile }: Recording): Promise<Run> {
  const args = [program, "zigbee", "audit", pcap, "--key-file", keyFile, "--fail-on", "never"];
  return runProgram(process.execPath, args);
}

function tshark({ pcap }: Recording, directory: string): Promise<Run> {
  const fields = tsharkFields.flatMap((field) => ["-e", field]);
  return runProgram("tshark", ["-r", pcap, "-T", "fields", ...fields], { WIRESHARK_CONFIG_DIR: directory });
}

function median(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[values.length >> 1] ?? Number.NaN;
}

function wallOf(runs: readonly Run[]): number {
  return median(runs.map((run) => run.wallSeconds));
}

function processorOf(runs: readonly Run[]): number {
  return median(runs.map((run) => run.processorSeconds));
}

function row(name: string, runs: readonly Run[], frames: number): string {
  const rate = (of: (run: Run) => number): string =>
    (Math.round(frames / median(runs.map(of)) / 1_000) * 1_000).toLocaleString("en-US");
  const peak = Math.max(...runs.map(({ peakMegabytes }) => peakMegabytes));
  const cells = [
    name,
    frames.toLocaleString("en-US"),
    rate(({ wallSeconds }) => wallSeconds),
    rate(({ processorSeconds }) => processorSeconds),
    peak === 0 ? "" : `${Math.round(peak)} MB`,
  ];
  return `| ${cells.join(" | ")} |`;
}

async function measure(directory: string): Promise<readonly string[]> {
  const where = machine();
  const frames = Number(options.frames);
  const recording = record(directory, frames);
  const release = buildRelease(join(directory, "release"));
  // The first start writes what the runtime compiles beside the program, for all that follow.
  for (const program of [postern, release]) await auditProgram(program, recording);
  const runs: Record<"tshark" | "sources" | "release", Run[]> = { tshark: [], sources: [], release: [] };
  for (let round = 0; round < Number(options.rounds); round++) {
    runs.tshark.push(await tshark(recording, directory));
    runs.sources.push(await auditProgram(postern, recording));
    runs.release.push(await auditProgram(release, recording));
  }
  const inProcess = auditsInProcess(recording, Number(options.rounds));
  const times = (of: readonly Run[]): string => (processorOf(runs.tshark) / processorOf(of)).toFixed(1);
  const sooner = (of: readonly Run[]): string => (wallOf(runs.tshark) / wallOf(of)).toFixed(1);
  const lines = [
    "| | frames | frames a second | frames for a second of processor time | memory at most |",
    "|---|---|---|---|---|",
    row("`tshark -T fields`, five fields", runs.tshark, frames),
    row("`postern zigbee audit` of a clone, from the shell", runs.sources, frames),
    row("`postern zigbee audit` of a release, from the shell", runs.release, frames),
    row("the audit in a process that is warm", inProcess, frames),
  ];
  let long = "";
  if (options.long) {
    const longer = record(directory, 10 * frames);
    const program = await auditProgram(release, longer);
    lines.push(row("`postern zigbee audit` of a release, ten times as long", [program], longer.frames));
    const other = await tshark(longer, directory);
    lines.push(row("`tshark -T fields`, ten times as long", [other], longer.frames));
    long = ` In a capture ten times as long they are ${(other.wallSeconds / program.wallSeconds).toFixed(1)} and ${(other.processorSeconds / program.processorSeconds).toFixed(1)} times.`;
  }
  return [
    `\`npm run bench -- zigbee-audit${options.long ? " --long" : ""} --write-docs\` on ${where.date} UTC, commit ${where.commit}: ${where.processor}, ${where.cores} cores, Node ${where.node}; load of the machine before: ${where.loadBefore}.`,
    "Both were given the keys; every protected frame is opened, its integrity code checked, all rules applied. The median of",
    `${options.rounds} rounds. From the shell, with all that starting takes, a release reads ${sooner(runs.release)} times as many frames a second as tshark and`,
    `${times(runs.release)} times as many for the same processor time; a clone ${sooner(runs.sources)} and ${times(runs.sources)} times.${long} Warm, the audit reads ${times(inProcess)} times as many.`,
    "",
    ...lines,
  ];
}

async function main(): Promise<void> {
  using scratch = new ScratchDirectory("postern-bench-zigbee");
  const directory = scratch.path;
  const lines = await measure(directory);
  console.log(lines.join("\n"));
  if (options["write-docs"]) writeSection(lines.join("\n"));
}

/** The figures stand between two marks. */
function writeSection(text: string): void {
  const [begin, end] = ["<!-- zigbee-audit bench -->\n", "\n<!-- end -->"];
  const before = readFileSync(document, "utf8");
  const from = before.indexOf(begin);
  const to = before.indexOf(end, from);
  if (from === -1 || to === -1) throw new Error(`${document} has lost the marks around its figures`);
  writeFileSync(document, `${before.slice(0, from)}${begin}${text}${before.slice(to)}`);
}

if (options.help) console.log(help);
else await main();
