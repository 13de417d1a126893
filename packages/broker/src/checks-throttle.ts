import type { BrokerContext } from "./context.ts";
import type { Limits } from "./limits.ts";
import { WheelTimer } from "./timer-wheel.ts";
import { TokenBucket } from "./token-bucket.ts";

/** Keeps what one client, and all together, have checked of signatures to a rate: each takes a tenth of a millisecond of the event loop. */
export class ChecksThrottle {
  readonly #context: BrokerContext;
  readonly #own: TokenBucket;
  #timer: WheelTimer | undefined = undefined;

  constructor(context: BrokerContext, limits: Limits) {
    this.#context = context;
    this.#own = new TokenBucket(limits.signatureChecksPerSecondPerClientMax, context.monotonicMs);
  }

  /** Returns how many ms to read nothing, or 0. */
  take(checks: number): number {
    const { checkRate, monotonicMs } = this.#context;
    return Math.max(this.#own.take(checks, monotonicMs), checkRate.take(checks, monotonicMs));
  }

  /** Calls `then` after the time. */
  wait(ms: number, then: () => void): void {
    this.close();
    this.#timer = new WheelTimer(then);
    this.#context.wheel.set(this.#timer, ms);
  }

  close(): void {
    if (this.#timer !== undefined) this.#context.wheel.clear(this.#timer);
    this.#timer = undefined;
  }
}
