import type { BrokerContext } from "./context.ts";
import type { Limits } from "./limits.ts";
import { PauseReason } from "./pause-reason.ts";
import { type Pausable, TimedPause } from "./timed-pause.ts";
import { TokenBucket } from "./token-bucket.ts";
import type { SharedRates } from "./usage.ts";

/** Keeps one client, and all together, to their rates by not reading: nothing is dropped. */
export class InboundThrottle {
  readonly #context: BrokerContext;
  readonly #bytes: TokenBucket;
  readonly #messages: TokenBucket;
  /** Rates that it keeps together with other connections: of its identity and its roles. */
  shared: readonly SharedRates[] = [];
  readonly #pause: TimedPause;
  /** PUBLISH packets since the last `take`. */
  #published = 0;

  constructor(context: BrokerContext, limits: Limits, nowMs: number) {
    this.#context = context;
    this.#pause = new TimedPause(context, PauseReason.rate);
    this.#bytes = new TokenBucket(limits.bytesPerSecondPerClientMax, nowMs);
    this.#messages = new TokenBucket(limits.messagesPerSecondPerClientMax, nowMs);
  }

  countMessage(): void {
    this.#published += 1;
  }

  /** Accounts for input that was handled: where it was too much, nothing more is read for a while. */
  slowDown(connection: Pausable, bytes: number): void {
    this.#pause.begin(connection, this.#take(bytes));
  }

  close(): void {
    this.#pause.close();
  }

  /** Returns how many ms to read nothing, or 0. */
  #take(bytes: number): number {
    const { monotonicMs, byteRate, messageRate } = this.#context;
    const messages = this.#published;
    this.#published = 0;
    let waitMs = 0;
    for (const rates of this.shared)
      waitMs = Math.max(
        waitMs,
        rates.messages.take(messages, monotonicMs),
        rates.bytes.take(bytes, monotonicMs),
      );
    return Math.max(
      waitMs,
      this.#bytes.take(bytes, monotonicMs),
      this.#messages.take(messages, monotonicMs),
      byteRate.take(bytes, monotonicMs),
      messageRate.take(messages, monotonicMs),
    );
  }
}
