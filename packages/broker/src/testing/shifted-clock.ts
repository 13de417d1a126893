import { type Clock, systemClock } from "@postern/core/clock";

/** The system's clock, ahead by as much as a test wants: time goes on by itself and can be made to leap. */
export class ShiftedClock implements Clock {
  #aheadMs = 0;

  leap(ms: number): void {
    this.#aheadMs += ms;
  }

  wallMs(): number {
    return systemClock.wallMs() + this.#aheadMs;
  }

  monotonicMs(): number {
    return systemClock.monotonicMs() + this.#aheadMs;
  }
}
