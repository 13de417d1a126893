import { spawn, spawnSync } from "node:child_process";

import { HostsError } from "../errors.ts";

/** How a program ended, and what it wrote. */
export type Ended = { readonly code: number | null; readonly stdout: string; readonly stderr: string };

/** Runs `ip` (iproute2) with these arguments; `input` stands on its standard input. Rejects with `HostsError` when it fails. */
export async function ip(args: readonly string[], input = ""): Promise<string> {
  const { code, stdout, stderr } = await ended("ip", args, input);
  if (code === 0) return stdout;
  throw new HostsError(`ip ${args.join(" ")} failed: ${stderr.trim()}`);
}

/** Runs several commands of `ip` in one process, in a network namespace or outside of all. */
export async function ipBatch(lines: readonly string[], namespace?: string): Promise<void> {
  if (lines.length === 0) return;
  await ip([...(namespace === undefined ? [] : ["-n", namespace]), "-batch", "-"], `${lines.join("\n")}\n`);
}

/** Runs a program to its end. Rejects with `HostsError` when it cannot be started. */
export async function ended(command: string, args: readonly string[], input = ""): Promise<Ended> {
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, { stdio: ["pipe", "pipe", "pipe"] });
    let stdout = "";
    let stderr = "";
    child.stdout.setEncoding("utf8").on("data", (text: string) => (stdout += text));
    child.stderr.setEncoding("utf8").on("data", (text: string) => (stderr += text));
    child.stdin.on("error", () => {});
    child.stdin.end(input);
    child.on("error", (cause) =>
      reject(new HostsError(`${command} cannot be started: ${cause.message}`, { cause })),
    );
    child.on("close", (code) => resolve({ code, stdout, stderr }));
  });
}

/** Whether a program is not installed where root finds programs. */
export function commandMissing(command: string): boolean {
  return spawnSync("sh", ["-c", `PATH="$PATH:/usr/sbin:/sbin" command -v "$0"`, command]).status !== 0;
}
