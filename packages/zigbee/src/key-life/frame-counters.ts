import { type Eui64 } from "../eui64.ts";

/** A counter may never have this value: a sender whose counter has come here is mute. @see Zigbee §4.3.1.1 */
export const counterEnd = 0xffff_ffff;

/** Steps of which the memory that survives a restart is told, so that it is not worn out. */
const persistedStep = 1_024;

/**
 * The counter of frames that are sent under one key. It counts on after a restart from a value that was written down before it
 * was reached, so that no value is used twice; only a new key lets it begin at 0 again. @see thesis 6.5, Zigbee §4.3.1.1
 */
export class OutgoingCounter {
  #next: number;
  #persisted: number;

  /** `from`: what was written down before a restart; 0 for a new device. */
  constructor(from = 0) {
    this.#next = from;
    this.#persisted = from;
  }

  /** The value for one frame, or `undefined` at the end. */
  take(): number | undefined {
    if (this.#next >= counterEnd) return undefined;
    if (this.#next >= this.#persisted) this.#persisted = Math.min(counterEnd, this.#next + persistedStep);
    return this.#next++;
  }

  /** What has to be written down; a restart goes on from here. */
  get persisted(): number {
    return this.#persisted;
  }

  /** A new key is in use. */
  reset(): void {
    this.#next = 0;
    this.#persisted = 0;
  }
}

/** Why a received counter is not accepted. */
export type CounterRefusal = "stale" | "end" | "jump" | "table-full";

/** What a receiver lets pass. */
export interface FreshnessPolicy {
  /** Senders that are remembered. */
  readonly sendersMax: number;
  /** How far a counter may jump ahead; without a limit, one forged frame can lock out its sender for good. */
  readonly jumpMax: number;
  /** Whether counters are looked at at all. */
  readonly checked: boolean;
}

/**
 * What a receiver remembers of the counters of others. A value is to be looked at before a frame's integrity code costs
 * energy, and to be accepted only after the code has proved it. @see thesis 6.5, Zigbee §4.3.1.2
 */
export class IncomingCounters {
  readonly #policy: FreshnessPolicy;
  readonly #lowest = new Map<Eui64, number>();

  constructor(policy: FreshnessPolicy) {
    this.#policy = policy;
  }

  /** Why a frame of `source` with this counter is to be dropped; `undefined` when it may be read. */
  refusal(source: Eui64, counter: number): CounterRefusal | undefined {
    if (!this.#policy.checked) return undefined;
    if (counter >= counterEnd && this.#policy.jumpMax < counterEnd) return "end";
    const lowest = this.#lowest.get(source);
    if (lowest === undefined) return this.#lowest.size >= this.#policy.sendersMax ? "table-full" : undefined;
    if (counter < lowest) return "stale";
    return counter - lowest > this.#policy.jumpMax ? "jump" : undefined;
  }

  /** A frame was proved genuine: lower counters are stale from now on. */
  accept(source: Eui64, counter: number): void {
    if (!this.#lowest.has(source) && this.#lowest.size >= this.#policy.sendersMax) return;
    this.#lowest.set(source, Math.max(counter + 1, this.#lowest.get(source) ?? 0));
  }

  /** A new network key is in use, or the device of that address has joined anew. */
  forget(source?: Eui64): void {
    if (source === undefined) this.#lowest.clear();
    else this.#lowest.delete(source);
  }

  get size(): number {
    return this.#lowest.size;
  }
}
