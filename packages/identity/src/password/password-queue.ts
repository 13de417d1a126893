/** How many jobs run at once, and how many may wait. */
export interface QueueLimits {
  readonly runningMax: number;
  readonly waitingMax: number;
}

/**
 * Runs expensive jobs a few at a time. What does not fit is turned away at once, so that whoever asks is answered while a
 * flood lasts, and memory stays bounded: each running hash holds 19 MB.
 */
export class PasswordQueue {
  readonly #limits: QueueLimits;
  readonly #waiting: (() => void)[] = [];
  #running = 0;
  #refusedCount = 0;

  constructor(limits: QueueLimits) {
    this.#limits = limits;
  }

  /** How many jobs were turned away since the start. */
  get refusedCount(): number {
    return this.#refusedCount;
  }

  get waitingCount(): number {
    return this.#waiting.length;
  }

  /** The job's result once it had its turn; `undefined`, at once, when the queue is full. */
  run<T>(job: () => Promise<T>): Promise<T> | undefined {
    if (this.#running < this.#limits.runningMax) return this.#start(job);
    if (this.#waiting.length >= this.#limits.waitingMax) {
      this.#refusedCount += 1;
      return undefined;
    }
    return new Promise((resolve) => this.#waiting.push(() => resolve(this.#start(job))));
  }

  async #start<T>(job: () => Promise<T>): Promise<T> {
    this.#running += 1;
    try {
      return await job();
    } finally {
      this.#running -= 1;
      this.#waiting.shift()?.();
    }
  }
}
