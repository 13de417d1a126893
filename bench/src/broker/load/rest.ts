import { setTimeout as delay } from "node:timers/promises";

import { cpuNanoseconds } from "./process-figures.ts";

/** Postern gives back what its start has left behind when nothing came for a second and a half. */
const restMs = 2_000;
const lookMs = 500;
const restNanosecondsMax = 25_000_000;

/** Resolves when a server to which nothing comes has done what it does then. */
export async function rest(pids: readonly number[]): Promise<void> {
  await delay(restMs);
  let nanoseconds = cpuNanoseconds(pids);
  for (let spent = Infinity; spent > restNanosecondsMax;) {
    await delay(lookMs);
    const now = cpuNanoseconds(pids);
    spent = now - nanoseconds;
    nanoseconds = now;
  }
}
