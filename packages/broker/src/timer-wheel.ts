import type { Clock } from "@postern/core/clock";

const tickMs = 100;
/** One turn of the wheel is 102.4 s; what is due later waits for further turns. */
const slotCount = 1024;

/**
 * A timer that lives in a wheel: one allocation per owner, however often it is moved.
 * `fire` is called at most one tick late while the event loop turns.
 */
export class WheelTimer {
  readonly fire: () => void;
  /** Monotonic ms, or -1 when the timer is not set. */
  deadlineMs = -1;
  slot: number = -1;

  constructor(fire: () => void) {
    this.fire = fire;
  }
}

/**
 * All of the broker's time-outs in one interval timer: keep-alive, session expiry, will delay, throttles.
 * Setting, moving and clearing are O(1); a timer that is moved to a later time is only written down and
 * found again when its old slot comes round, so that refreshing costs two stores.
 */
export class TimerWheel {
  readonly #clock: Clock;
  readonly #slots: Set<WheelTimer>[] = Array.from({ length: slotCount }, () => new Set());
  readonly #interval: NodeJS.Timeout | undefined;
  #tick: number;

  /** With `selfDriven` false nothing fires until `advance` is called: for tests that move the clock. */
  constructor(clock: Clock, selfDriven = true) {
    this.#clock = clock;
    this.#tick = Math.floor(clock.monotonicMs() / tickMs);
    if (selfDriven) this.#interval = setInterval(() => this.advance(), tickMs).unref();
  }

  /** By its clock, which is monotonic. */
  get nowMs(): number {
    return this.#clock.monotonicMs();
  }

  /** Sets or moves the timer to fire `delayMs` from now. */
  set(timer: WheelTimer, delayMs: number): void {
    const deadlineMs = this.#clock.monotonicMs() + Math.max(0, delayMs);
    const sooner = deadlineMs < timer.deadlineMs;
    timer.deadlineMs = deadlineMs;
    if (timer.slot >= 0 && !sooner) return;
    this.#place(timer);
  }

  clear(timer: WheelTimer): void {
    if (timer.slot >= 0) this.#slots[timer.slot]?.delete(timer);
    timer.slot = -1;
    timer.deadlineMs = -1;
  }

  /** Fires what is due by the clock. */
  advance(): void {
    const nowMs = this.#clock.monotonicMs();
    const target = Math.floor(nowMs / tickMs);
    // After a long pause one full turn visits every slot; more turns would find nothing new.
    let tick = Math.max(this.#tick, target - slotCount + 1);
    for (; tick <= target; tick += 1) this.#visit(tick % slotCount, nowMs);
    this.#tick = target;
  }

  close(): void {
    clearInterval(this.#interval);
    for (const slot of this.#slots) slot.clear();
  }

  #visit(slot: number, nowMs: number): void {
    const timers = this.#slots[slot];
    if (timers === undefined || timers.size === 0) return;
    for (const timer of timers) {
      if (timer.slot !== slot) continue;
      if (timer.deadlineMs <= nowMs) {
        this.clear(timer);
        timer.fire();
      } else if (this.#slotOf(timer.deadlineMs) !== slot) {
        this.#place(timer);
      }
    }
  }

  #place(timer: WheelTimer): void {
    if (timer.slot >= 0) this.#slots[timer.slot]?.delete(timer);
    timer.slot = this.#slotOf(timer.deadlineMs);
    this.#slots[timer.slot]?.add(timer);
  }

  /** The first slot that is visited once the deadline has passed. */
  #slotOf(deadlineMs: number): number {
    return Math.max(Math.ceil(deadlineMs / tickMs), this.#tick) % slotCount;
  }
}
