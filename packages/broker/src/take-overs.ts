import type { Clock } from "@postern/core/clock";

/** Over which take-overs are counted, and for how long newcomers are refused once there were too many. */
const windowMs = 60_000;
/** Client ids that are remembered; the oldest gives way. */
const clientsMax = 10_000;

interface Flapping {
  count: number;
  startedMs: number;
  /** Newcomers are refused until then. */
  refusedUntilMs: number;
}

/**
 * Tells a device that comes back before the server has noticed that it was gone from two that take one client id from each other
 * without end: after so many take-overs within a minute the one that is connected stays, and newcomers are refused for a minute.
 */
export class TakeOvers {
  readonly #clock: Clock;
  readonly #perMinuteMax: number;
  /** By client id; only those that were taken over within the last minute. */
  readonly #clients = new Map<string, Flapping>();

  /** A `perMinuteMax` of 0 allows any number. */
  constructor(perMinuteMax: number, clock: Clock) {
    this.#perMinuteMax = perMinuteMax;
    this.#clock = clock;
  }

  /** Counts one more take-over of the client id; false when it must not happen. */
  allow(clientId: string): boolean {
    if (this.#perMinuteMax === 0) return true;
    const nowMs = this.#clock.monotonicMs();
    const known = this.#clients.get(clientId);
    if (known !== undefined && nowMs < known.refusedUntilMs) return false;
    if (known === undefined || nowMs - known.startedMs >= windowMs) {
      this.#clients.delete(clientId);
      this.#makeRoom(nowMs);
      this.#clients.set(clientId, { count: 1, startedMs: nowMs, refusedUntilMs: -Infinity });
      return true;
    }
    if (known.count >= this.#perMinuteMax) {
      known.refusedUntilMs = nowMs + windowMs;
      return false;
    }
    known.count += 1;
    return true;
  }

  #makeRoom(nowMs: number): void {
    for (const [clientId, { startedMs, refusedUntilMs }] of this.#clients) {
      const isOver = nowMs >= refusedUntilMs && nowMs - startedMs >= windowMs;
      if (!isOver && this.#clients.size < clientsMax) break;
      this.#clients.delete(clientId);
    }
  }
}
