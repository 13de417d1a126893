/** Sleeps until something is due, says so, and sleeps again. */
import { parentPort, workerData } from "node:worker_threads";

import type { PacerJob } from "./pacer.ts";

const nanosecondsEach = 1_000_000_000;

function isJob(data: unknown): data is PacerJob {
  return typeof data === "object" && data !== null && "perSecond" in data;
}

const job: unknown = workerData;
if (!isJob(job) || parentPort === null) throw new TypeError("a thread that keeps the time is given a job");
const { perSecond, stopped } = job;
const port = parentPort;
const wake = (): void => port.postMessage(0, []);

/** `process.hrtime` is the same in all threads. */
function keepTime(began: bigint): void {
  for (let turn = 1; Atomics.load(stopped, 0) === 0; turn += 1) {
    const due = began + BigInt(Math.ceil((turn * nanosecondsEach) / perSecond));
    let left = Number(due - process.hrtime.bigint());
    while (left > 0 && Atomics.load(stopped, 0) === 0) {
      Atomics.wait(stopped, 0, 0, left / 1_000_000);
      left = Number(due - process.hrtime.bigint());
    }
    wake();
  }
}

port.once("message", keepTime);
wake();
