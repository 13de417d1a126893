import type { BrokerContext } from "./context.ts";
import { WheelTimer } from "./timer-wheel.ts";

/** The wall clock may be set: how long the end of a proof is at most left to the other one. */
const proofLookMsMax = 60_000;

/** Re-authentications of one connection that may follow each other at once, and what each takes to be forgotten. */
const reauthenticationsMax = 10;
const reauthenticationMs = 6_000;

/** How long a client may say nothing, and how long it is believed who it is. The owner is told when it is time to look. */
export class ClientWatch extends WheelTimer {
  readonly #context: BrokerContext;
  keepAliveMs = 0;
  /** Monotonic ms. */
  lastReceivedMs: number;
  /** Wall clock, ms: when the proof of who the client is ends. */
  untilMs = Infinity;
  /** Monotonic ms: when all re-authentications so far are forgotten. */
  #reauthenticatedMs = 0;

  constructor(context: BrokerContext, nowMs: number, look: () => void) {
    super(look);
    this.#context = context;
    this.lastReceivedMs = nowMs;
  }

  /** Looks at the client again when it has been silent for `silenceMs` from now, or when its proof ends. */
  lookIn(silenceMs: number): void {
    const { wheel, nowMs } = this.#context;
    const proofMs = Math.min(this.untilMs - nowMs, proofLookMsMax);
    wheel.set(this, this.untilMs === Infinity ? silenceMs : Math.min(silenceMs, proofMs));
  }

  /** What there is to say against the client; when there is nothing, it is looked at again. `excused`: nobody listens to it now. */
  look(excused: boolean): "proofEnded" | "silent" | undefined {
    const { nowMs, monotonicMs } = this.#context;
    if (nowMs >= this.untilMs) return "proofEnded";
    const leftMs = this.keepAliveMs - (excused ? 0 : monotonicMs - this.lastReceivedMs);
    if (leftMs <= 0) return "silent";
    this.lookIn(leftMs);
    return undefined;
  }

  /** Counts a re-authentication; false when there were too many of late. */
  mayReauthenticate(): boolean {
    const { monotonicMs } = this.#context;
    this.#reauthenticatedMs = Math.max(this.#reauthenticatedMs, monotonicMs) + reauthenticationMs;
    return this.#reauthenticatedMs - monotonicMs <= reauthenticationsMax * reauthenticationMs;
  }

  close(): void {
    this.#context.wheel.clear(this);
  }
}
