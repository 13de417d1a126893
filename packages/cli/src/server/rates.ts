import type { Clock } from "@postern/core/clock";

/** Counters that only grow. */
export type Counters = Readonly<Record<string, number>>;

interface Sample {
  readonly atMs: number;
  readonly counters: Counters;
}

const windowMs = 60_000;
const stepMs = 5_000;

/** How fast counters grew over the last minute. */
export class Rates implements Disposable {
  readonly #read: () => Counters;
  readonly #clock: Clock;
  readonly #timer: NodeJS.Timeout;
  #samples: Sample[];

  constructor(read: () => Counters, clock: Clock) {
    this.#read = read;
    this.#clock = clock;
    this.#samples = [this.#take()];
    this.#timer = setInterval(() => this.sample(), stepMs).unref();
  }

  /** Called by the timer; the tests call it themselves. */
  sample(): void {
    const taken = this.#take();
    // One sample older than the window stays: it is where the window begins.
    const begin = this.#samples.findLastIndex(({ atMs }) => atMs <= taken.atMs - windowMs);
    this.#samples = [...this.#samples.slice(Math.max(begin, 0)), taken];
  }

  /** Each counter's growth per second; 0 while nothing can be said. */
  perSecond(): Record<string, number> {
    const now = this.#take();
    const [first = now] = this.#samples;
    const seconds = (now.atMs - first.atMs) / 1000;
    return Object.fromEntries(
      Object.entries(now.counters).map(([name, value]) => {
        const grown = value - (first.counters[name] ?? 0);
        return [name, seconds <= 0 ? 0 : Math.round((grown / seconds) * 10) / 10];
      }),
    );
  }

  [Symbol.dispose](): void {
    clearInterval(this.#timer);
  }

  #take(): Sample {
    return { atMs: this.#clock.monotonicMs(), counters: this.#read() };
  }
}
