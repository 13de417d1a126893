/** How many jobs run at once, and how many may wait, and how long. */
export interface QueueLimits {
  readonly runningMax: number;
  readonly waitingMax: number;
  readonly waitMsMax: number;
}

/** A job that waits for its turn; `start` is told whether that came too late. */
interface Waiting {
  readonly sinceMs: number;
  readonly start: (tooLate: boolean) => void;
}

/**
 * Runs expensive jobs a few at a time. What does not fit, or has waited too long, is turned away, so that whoever asks is answered
 * while a flood lasts, nothing is worked at that nobody waits for any more, and memory stays bounded: each running hash holds 19 MB.
 */
export class PasswordQueue {
  readonly #limits: QueueLimits;
  readonly #nowMs: () => number;
  readonly #waiting: Waiting[] = [];
  #running = 0;
  #refusedCount = 0;

  /** `nowMs` is a clock that never steps back. */
  constructor(limits: QueueLimits, nowMs: () => number) {
    this.#limits = limits;
    this.#nowMs = nowMs;
  }

  /** How many jobs were turned away since the start. */
  get refusedCount(): number {
    return this.#refusedCount;
  }

  get waitingCount(): number {
    return this.#waiting.length;
  }

  /** The job's result once it had its turn, or "busy". */
  async run<T>(job: () => Promise<T>): Promise<T | "busy"> {
    if (this.#running >= this.#limits.runningMax) {
      const fits = this.#waiting.length < this.#limits.waitingMax;
      if (!fits || (await this.#turn()) === "too late") {
        this.#refusedCount += 1;
        return "busy";
      }
    } else {
      this.#running += 1;
    }
    try {
      return await job();
    } finally {
      this.#next();
    }
  }

  /** Waits for a place among the running, which is taken when it comes in time. */
  #turn(): Promise<"in time" | "too late"> {
    return new Promise((resolve) =>
      this.#waiting.push({
        sinceMs: this.#nowMs(),
        start: (tooLate) => resolve(tooLate ? "too late" : "in time"),
      }),
    );
  }

  /** Hands the place of a job that is done to the first that has not waited too long. */
  #next(): void {
    const earliestMs = this.#nowMs() - this.#limits.waitMsMax;
    for (let next = this.#waiting.shift(); next !== undefined; next = this.#waiting.shift()) {
      const tooLate = next.sinceMs < earliestMs;
      next.start(tooLate);
      if (!tooLate) return;
    }
    this.#running -= 1;
  }
}
