import { spawn, type ChildProcess, type SpawnOptions } from "node:child_process";
import { randomUUID } from "node:crypto";
import { readdirSync, readFileSync } from "node:fs";
import { constants } from "node:os";
import { delimiter, join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";

import { root } from "./repository.ts";

/**
 * Stands in the environment of everything that is started from here, so that what was left behind can be found: one marker for
 * each run that this one is within, its own last.
 */
const markerName = "POSTERN_RUN";
const ownMarker = randomUUID();

const groups = new Set<number>();

/** Our environment, with the pinned runtime and the installed tools first in the path. */
export function environment(): NodeJS.ProcessEnv {
  const path = [join(root, "node_modules", ".bin"), process.env["PATH"] ?? ""].join(delimiter);
  return { ...process.env, PATH: path, [markerName]: [...inheritedMarkers(), ownMarker].join(",") };
}

/** Starts `command` from the root, as the head of a process group of its own, which ends when this process does. */
export function start(command: string, args: readonly string[], options: SpawnOptions): ChildProcess {
  const child = spawn(command, args, { cwd: root, env: environment(), ...options, detached: true });
  const { pid } = child;
  if (pid !== undefined) {
    groups.add(pid);
    child.once("close", () => groups.delete(pid));
  }
  return child;
}

/** Waits for `child` to end: its exit code, or 128 and the signal's number. Rejects when it could not be started. */
export async function ended(child: ChildProcess): Promise<number> {
  return new Promise((resolve, reject) => {
    child.once("error", reject);
    child.once("close", (code, signal) => {
      resolve(code ?? 128 + (signal === null ? 0 : constants.signals[signal]));
    });
  });
}

/**
 * From now on, a signal that asks this process to end ends everything it has started first, and tidies up behind it; then it
 * dies of that signal as it would have done.
 */
export function takeChildrenAlong(tidy: () => Promise<unknown> = async () => {}): void {
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) {
    process.once(signal, () => {
      for (const group of groups) send(-group, "SIGKILL");
      void endLeftBehind()
        .then(tidy)
        .finally(() => process.kill(process.pid, signal));
    });
  }
}

/** How often is looked whether what was killed is gone. */
const looksMax = 100;

/** Kills what was started from here, and waits until it is gone. */
async function endLeftBehind(): Promise<void> {
  for (let look = 0; look < looksMax; look++) {
    const left = leftBehind();
    if (left.length === 0) return;
    for (const { pid } of left) send(pid, "SIGKILL");
    await delay(20);
  }
}

function inheritedMarkers(): string[] {
  return (process.env[markerName] ?? "").split(",").filter((marker) => marker !== "");
}

/** The run that this process was started by, or undefined. */
export function inheritedMarker(): string | undefined {
  return inheritedMarkers().at(-1);
}

/**
 * Processes that were started from here (or by the run `marker`), however indirectly, and still run, without this
 * one. Empty where there is no `/proc`.
 */
export function leftBehind(marker: string = ownMarker): { pid: number; command: string }[] {
  const pids = entries("/proc").filter((name) => /^\d+$/.test(name) && Number(name) !== process.pid);
  return pids.flatMap((pid) => {
    const variables = text(`/proc/${pid}/environ`).split("\0");
    const markers = variables.find((variable) => variable.startsWith(`${markerName}=`));
    if (
      markers
        ?.slice(markerName.length + 1)
        .split(",")
        .includes(marker) !== true
    )
      return [];
    return [{ pid: Number(pid), command: text(`/proc/${pid}/cmdline`).replaceAll("\0", " ").trim() }];
  });
}

/** Ends a process, or a whole group when `pid` is negative; one that has ended already is no fault. */
export function send(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(pid, signal);
  } catch (thrown) {
    if (!(thrown instanceof Error && "code" in thrown && thrown.code === "ESRCH")) throw thrown;
  }
}

function entries(directory: string): string[] {
  try {
    return readdirSync(directory);
  } catch {
    return [];
  }
}

/** A process may end, or belong to somebody else, between being listed and being read. */
function text(path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return "";
  }
}
