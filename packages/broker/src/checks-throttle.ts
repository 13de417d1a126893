import type { BrokerContext } from "./context.ts";
import type { Limits } from "./limits.ts";
import { PauseReason } from "./pause-reason.ts";
import { TimedPause } from "./timed-pause.ts";
import { TokenBucket } from "./token-bucket.ts";

/** Keeps what one client, and all together, have checked of signatures to a rate: each takes a tenth of a millisecond of the event loop. */
export class ChecksThrottle {
  readonly #context: BrokerContext;
  readonly #own: TokenBucket;
  readonly pause: TimedPause;

  constructor(context: BrokerContext, limits: Limits) {
    this.#context = context;
    this.pause = new TimedPause(context, PauseReason.checks);
    this.#own = new TokenBucket(limits.signatureChecksPerSecondPerClientMax, context.monotonicMs);
  }

  /** Returns how many ms to read nothing, or 0. */
  take(checks: number): number {
    const { checkRate, monotonicMs } = this.#context;
    return Math.max(this.#own.take(checks, monotonicMs), checkRate.take(checks, monotonicMs));
  }
}
