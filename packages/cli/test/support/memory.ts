import { readFileSync } from "node:fs";

/** The resident memory of a process, in MB. */
export function residentMb(pid: number | undefined): number {
  const status = readFileSync(`/proc/${pid ?? 0}/status`, "utf8");
  return Number(/VmRSS:\s+(\d+)/.exec(status)?.[1]) / 1_024;
}

/** For `skip`: memory is read from `/proc`, and every address of 127.0.0.0/8 is there without being set up. */
export const linuxOnly = { skip: process.platform === "linux" ? false : "needs Linux" };
