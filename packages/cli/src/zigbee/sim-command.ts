import { visible } from "@postern/device/visible";
import { measuredRun } from "@postern/zigbee-sim/measurements";
import { recordingPcap, recordingPcapng, wiresharkKeys } from "@postern/zigbee-sim/recording";
import { simulationHtml } from "@postern/zigbee-sim/report-html";
import { simulationText } from "@postern/zigbee-sim/report-text";
import { Simulation } from "@postern/zigbee-sim/simulation";

import type { CommandContext } from "../context.ts";
import { UsageError } from "../errors.ts";
import { writeOutput } from "./output-file.ts";
import { cbkeSecretsJson } from "./cbke-secrets.ts";
import { loadScenario } from "./scenario.ts";

/** The options of `postern zigbee sim`, as they stand on the command line. */
export interface SimCommandOptions {
  readonly seed: string;
  readonly pcap?: string;
  readonly keys?: string;
  readonly cbke?: string;
  readonly report?: string;
  readonly json?: boolean;
}

/** Simulates a network, writes what was asked for, and prints what it measured. */
export function simCommand(name: string, options: SimCommandOptions, context: CommandContext): void {
  const seed = wholeNumber("--seed", options.seed, 0, 2 ** 31);
  const simulation = new Simulation(loadScenario(name, context.cwd), seed);
  const measured = measuredRun(simulation);
  const { cwd } = context;
  // A file with keys in it is for its owner.
  if (options.pcap?.endsWith(".pcapng") === true) {
    writeOutput(options.pcap, cwd, () => recordingPcapng(simulation), 0o600);
  } else {
    writeOutput(options.pcap, cwd, () => recordingPcap(simulation.frames));
  }
  writeOutput(options.keys, cwd, () => wiresharkKeys(simulation), 0o600);
  if (options.cbke !== undefined && !simulation.scenario.security.certificates) {
    throw new UsageError("--cbke: the devices of this scenario have no certificates (security.certificates)");
  }
  writeOutput(options.cbke, cwd, () => cbkeSecretsJson(simulation.certificateSecrets), 0o600);
  writeOutput(options.report, cwd, () => simulationHtml(simulation, measured, seed));
  if (options.json === true) {
    const { name: scenario } = simulation.scenario;
    context.stdout.write(`${JSON.stringify({ scenario, seed, ...measured }, undefined, 2)}\n`);
  } else {
    context.stdout.write(visible(simulationText(simulation, measured, seed)));
  }
}

/** A number from the command line. Throws `UsageError` unless it is a whole one within the bounds. */
export function wholeNumber(option: string, text: string, min: number, max: number): number {
  const value = /^\d{1,12}$/.test(text) ? Number(text) : Number.NaN;
  if (value >= min && value <= max) return value;
  throw new UsageError(`${option} is ${JSON.stringify(text)}, not a whole number from ${min} to ${max}`);
}
