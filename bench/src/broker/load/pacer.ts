import { once } from "node:events";
import { Worker } from "node:worker_threads";

const program = new URL("./pacer-thread.ts", import.meta.url);

/** What the thread that keeps the time is told. */
export interface PacerJob {
  readonly perSecond: number;
  /** Not 0 once it is to stop. */
  readonly stopped: Int32Array<SharedArrayBuffer>;
}

/**
 * Calls back when something is due, at a fixed rate. A thread of its own sleeps in the kernel until then and wakes this one: timers of the
 * event loop are late by up to a millisecond, and to look at the clock all the time takes a processor from what is measured.
 */
export class Pacer {
  readonly #thread: Worker;
  readonly #stopped: Int32Array<SharedArrayBuffer>;
  readonly #perSecond: number;
  readonly #onDue: (dueMs: number) => void;
  #beganMs = 0;
  #turn = 0;

  private constructor(thread: Worker, job: PacerJob, onDue: (dueMs: number) => void) {
    this.#thread = thread;
    this.#stopped = job.stopped;
    this.#perSecond = job.perSecond;
    this.#onDue = onDue;
  }

  /** @param onDue Is told when it was due, on the clock of `performance.now`; called late rather than left out. */
  static async start(perSecond: number, onDue: (dueMs: number) => void): Promise<Pacer> {
    const job: PacerJob = { perSecond, stopped: new Int32Array(new SharedArrayBuffer(4)) };
    const thread = new Worker(program, { workerData: job });
    const pacer = new Pacer(thread, job, onDue);
    // Time counts from when the thread runs: what it took to start is nobody's delay.
    await once(thread, "message");
    thread.on("message", () => pacer.#look());
    pacer.#beganMs = performance.now();
    // Read after the other clock, so that nothing is woken for before it is due.
    thread.postMessage(process.hrtime.bigint(), []);
    return pacer;
  }

  async stop(): Promise<void> {
    this.#thread.removeAllListeners("message");
    Atomics.store(this.#stopped, 0, 1);
    Atomics.notify(this.#stopped, 0);
    await this.#thread.terminate();
  }

  #look(): void {
    const turns = Math.floor(((performance.now() - this.#beganMs) * this.#perSecond) / 1_000);
    while (this.#turn < turns && this.#stopped[0] === 0) {
      this.#turn += 1;
      this.#onDue(this.#beganMs + (this.#turn * 1_000) / this.#perSecond);
    }
  }
}
