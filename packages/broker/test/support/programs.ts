import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync } from "node:fs";

/** A program that runs beside the tests. */
export interface Running {
  /** Resolves when it has ended; rejects when it takes longer than a minute. */
  readonly ended: Promise<Ended>;
  kill(signal: NodeJS.Signals): void;
}

export interface Ended {
  /** The exit code, or the signal that ended it. */
  readonly code: number | NodeJS.Signals | null;
  readonly stdout: string;
  readonly stderr: string;
}

export interface RunOptions {
  /** What it reads from standard input, which is closed after it. */
  readonly stdin?: string;
}

export function start(command: string, args: readonly string[], { stdin = "" }: RunOptions = {}): Running {
  const child = spawn(command, args, { stdio: "pipe" });
  let stdout = "";
  let stderr = "";
  child.stdout.setEncoding("utf8").on("data", (text: string) => (stdout += text));
  child.stderr.setEncoding("utf8").on("data", (text: string) => (stderr += text));
  child.stdin.on("error", () => {}).end(stdin);
  const end = async (): Promise<Ended> => {
    await once(child, "close", { signal: AbortSignal.timeout(60_000) });
    return { code: child.exitCode ?? child.signalCode, stdout, stderr };
  };
  return { ended: end(), kill: (signal) => void child.kill(signal) };
}

/** `skip` for tests that need these programs or files: what is missing, or `false`. */
export function unlessInstalled(debianPackage: string, ...paths: readonly string[]): string | false {
  return paths.every((path) => existsSync(path)) ? false : `${debianPackage} is not installed`;
}
