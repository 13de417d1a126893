import { mkdirSync } from "node:fs";
import { join, resolve } from "node:path";
import { setImmediate } from "node:timers/promises";

import { errorText } from "@postern/core/errors";
import { attacks } from "@postern/zigbee-sim/attack/attacks";
import { type AttackSummary, type Condition, type LabRun, summarizeAttack } from "@postern/zigbee-sim/lab";
import { labHtml, labJson, labText } from "@postern/zigbee-sim/lab-report";
import { recordingPcapng } from "@postern/zigbee-sim/recording";
import { scoreDetectors } from "@postern/zigbee-sim/score/scores";
import { scoresMarkdown } from "@postern/zigbee-sim/score/scores-report";

import type { CommandContext } from "../context.ts";
import { ExitCode, UsageError } from "../errors.ts";
import { writeOutput } from "./output-file.ts";
import { wholeNumber } from "./sim-command.ts";

/** The options of `postern zigbee lab`, as they stand on the command line. */
export interface LabCommandOptions {
  readonly attack?: readonly string[];
  readonly seeds: string;
  readonly json?: boolean;
  readonly report?: string;
  readonly detectors?: string;
  readonly pcap?: string;
}

const seedsMax = 1_000;

/** Runs every attack without, with, and against its defence, and prints what the defences are worth. */
export async function labCommand(options: LabCommandOptions, context: CommandContext): Promise<void> {
  const count = wholeNumber("--seeds", options.seeds, 1, seedsMax);
  const seeds = Array.from({ length: count }, (_, index) => index + 1);
  const chosen = chosenAttacks(options.attack);
  const signal = context.interruption();
  const say = (text: string): void => {
    if (context.stderr.isTTY === true) context.stderr.write(`\r\u001B[K${text}`);
  };
  if (options.detectors !== undefined) {
    const scores = await scoreDetectors(chosen, seeds, async (attack) => {
      say(`scoring the auditor: ${attack.id}`);
      await setImmediate();
      return !signal.aborted;
    });
    say("");
    if (scores === undefined) context.exitCode = ExitCode.interrupted;
    else writeOutput(options.detectors, context.cwd, () => scoresMarkdown(scores));
    return;
  }
  const summaries: AttackSummary[] = [];
  for (const attack of chosen) {
    say(`${summaries.length + 1} of ${chosen.length}: ${attack.id}`);
    await setImmediate();
    if (signal.aborted) break;
    const written = new Set<Condition>();
    const onRun = (run: LabRun): void => {
      if (options.pcap === undefined || written.has(run.condition)) return;
      written.add(run.condition);
      writeCapture(options.pcap, run, context);
    };
    summaries.push(summarizeAttack(attack, seeds, onRun));
  }
  say("");
  if (signal.aborted) {
    context.exitCode = ExitCode.interrupted;
    return;
  }
  writeOutput(options.report, context.cwd, () => labHtml(summaries));
  context.stdout.write(
    options.json === true ? `${JSON.stringify(labJson(summaries), undefined, 2)}\n` : labText(summaries),
  );
}

/** Writes what the sniffer recorded of a run, with its keys: for its owner. */
function writeCapture(
  folder: string,
  { attack, condition, simulation }: LabRun,
  context: CommandContext,
): void {
  try {
    mkdirSync(resolve(context.cwd, folder), { recursive: true });
  } catch (thrown) {
    throw new UsageError(`cannot make ${folder}: ${errorText(thrown)}`, { cause: thrown });
  }
  const name = join(folder, `${attack.id}-${condition}.pcapng`);
  writeOutput(name, context.cwd, () => recordingPcapng(simulation), 0o600);
}

function chosenAttacks(ids: readonly string[] | undefined): typeof attacks {
  if (ids === undefined) return attacks;
  return ids.map((id) => {
    const found = attacks.find((attack) => attack.id === id);
    if (found !== undefined) return found;
    const known = attacks.map((attack) => attack.id).join(", ");
    throw new UsageError(`--attack is ${JSON.stringify(id)}, not one of ${known}`);
  });
}
