import type { EventLoopUtilization } from "node:perf_hooks";

/** How much a thread has to do. */
export class LoopShare {
  readonly #read: () => EventLoopUtilization;
  #last: EventLoopUtilization;

  constructor(read: () => EventLoopUtilization) {
    this.#read = read;
    this.#last = read();
  }

  /** In how much of the time since it was asked last the thread was not waiting: 0 to 1. */
  next(): number {
    const now = this.#read();
    const active = now.active - this.#last.active;
    const idle = now.idle - this.#last.idle;
    this.#last = now;
    return active > 0 ? active / (active + idle) : 0;
  }
}
