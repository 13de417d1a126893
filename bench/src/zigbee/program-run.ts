import { spawn } from "node:child_process";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { setTimeout } from "node:timers/promises";

/** What a program took. */
export interface Run {
  readonly wallSeconds: number;
  /** User and system time of all its threads. */
  readonly processorSeconds: number;
  readonly peakMegabytes: number;
}

const ticksEachSecond = 100;

/** Runs a program to its end, its output thrown away. What it took is looked up every few milliseconds while it runs. */
export async function runProgram(
  command: string,
  args: readonly string[],
  environment: Readonly<Record<string, string>> = {},
): Promise<Run> {
  const began = performance.now();
  const child = spawn(command, args, { stdio: "ignore", env: { ...process.env, ...environment } });
  const closed = once(child, "close");
  let processorSeconds = 0;
  let peakMegabytes = 0;
  const folder = `/proc/${child.pid}`;
  for (; child.exitCode === null && child.signalCode === null; await setTimeout(5)) {
    try {
      const [, after = ""] = readFileSync(`${folder}/stat`, "utf8").split(") ");
      const [user = 0, system = 0] = after.split(" ").slice(11, 13).map(Number);
      processorSeconds = Math.max(processorSeconds, (user + system) / ticksEachSecond);
      const peak = /^VmHWM:\s+(\d+) kB$/m.exec(readFileSync(`${folder}/status`, "utf8"))?.[1];
      peakMegabytes = Math.max(peakMegabytes, Number(peak ?? 0) / 1_024);
    } catch {
      // It has ended since.
    }
  }
  const [code] = await closed;
  if (code !== 0) throw new Error(`${command} ended with ${String(code)}`);
  return { wallSeconds: (performance.now() - began) / 1_000, processorSeconds, peakMegabytes };
}
