import type { BrokerContext } from "./context.ts";
import type { PauseReason } from "./pause-reason.ts";
import { WheelTimer } from "./timer-wheel.ts";

/** What is not to be read for a time. */
export interface Pausable {
  readonly isClosing: boolean;
  pause(reason: PauseReason): void;
  resume(reason: PauseReason): void;
}

/** Has a connection not be read for a time, for one reason. */
export class TimedPause {
  readonly #context: BrokerContext;
  readonly #reason: PauseReason;
  #timer: WheelTimer | undefined = undefined;

  constructor(context: BrokerContext, reason: PauseReason) {
    this.#context = context;
    this.#reason = reason;
  }

  /** For so many ms from now on; nothing for 0, or where it is closing anyway. */
  begin(connection: Pausable, ms: number): void {
    if (ms === 0 || connection.isClosing) return;
    const { stats, wheel } = this.#context;
    stats.throttled += 1;
    connection.pause(this.#reason);
    this.close();
    this.#timer = new WheelTimer(() => connection.resume(this.#reason));
    wheel.set(this.#timer, ms);
  }

  /** Leaves it as it is. */
  close(): void {
    if (this.#timer !== undefined) this.#context.wheel.clear(this.#timer);
    this.#timer = undefined;
  }
}
