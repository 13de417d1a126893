/** A rate limit that allows a burst of one second. A rate of 0 limits nothing. */
export class TokenBucket {
  #perSecond: number;
  #tokens: number;
  #filledMs: number;

  constructor(perSecond: number, nowMs: number) {
    this.#perSecond = perSecond;
    this.#tokens = perSecond;
    this.#filledMs = nowMs;
  }

  get perSecond(): number {
    return this.#perSecond;
  }

  /** Another rate begins with a full bucket; debts stay. */
  set perSecond(perSecond: number) {
    if (perSecond === this.#perSecond) return;
    this.#tokens = this.#tokens < 0 ? this.#tokens : perSecond;
    this.#perSecond = perSecond;
  }

  /** Takes `amount` (the bucket may go into debt) and returns how many ms to wait before taking more; 0 to go on. */
  take(amount: number, nowMs: number): number {
    if (this.#perSecond === 0) return 0;
    const refill = ((nowMs - this.#filledMs) * this.#perSecond) / 1_000;
    this.#tokens = Math.min(this.#perSecond, this.#tokens + refill) - amount;
    this.#filledMs = nowMs;
    return this.#tokens >= 0 ? 0 : Math.ceil((-this.#tokens * 1_000) / this.#perSecond);
  }
}
