import type { Clock } from "@postern/core/clock";
import { sourceOf } from "@postern/core/source";

/** Requests of one source; a site behind one address may start a hundred devices at once. */
const requestsPerMinuteMax = 600;
/** Sources that are counted one by one; all others share one count. */
const sourcesMax = 10_000;

const minuteMs = 60_000;

/** Counts requests by the address they come from, for a minute at a time. Failed proofs are counted elsewhere, for all services together. */
export class Throttle {
  readonly #clock: Clock;
  #endsMs = Number.NEGATIVE_INFINITY;
  #counts = new Map<string, number>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Counts a request. @returns the seconds to wait when there were too many, otherwise `undefined`. */
  request(address: string): number | undefined {
    const nowMs = this.#clock.monotonicMs();
    if (nowMs >= this.#endsMs) {
      this.#endsMs = nowMs + minuteMs;
      this.#counts = new Map();
    }
    const source = sourceOf(address);
    const key = this.#counts.has(source) || this.#counts.size < sourcesMax ? source : "";
    const count = (this.#counts.get(key) ?? 0) + 1;
    this.#counts.set(key, count);
    return count <= requestsPerMinuteMax ? undefined : Math.max(Math.ceil((this.#endsMs - nowMs) / 1_000), 1);
  }
}
