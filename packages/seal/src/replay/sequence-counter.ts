import { decodeCbor } from "../cbor/decode.ts";
import { encodeCbor } from "../cbor/encode.ts";
import type { CborValue } from "../cbor/value.ts";
import { instanceBytes, sequenceMax, type Position } from "../envelope/position.ts";

/** Where a counter is kept, such as a file that is written anew and synced. */
export interface CounterStore {
  /** What was saved last, or `undefined` when there is nothing. */
  load(): Promise<Uint8Array | undefined>;
  /** Resolves when it would survive a crash. */
  save(bytes: Uint8Array): Promise<void>;
}

export interface CounterOptions {
  readonly store: CounterStore;
  readonly nowMs: number;
  /** 4 random bytes, different at each call. */
  readonly randomBytes: (bytes: number) => Uint8Array;
  /** Numbers that are reserved at a time: as many are skipped after a crash. */
  readonly ahead?: number;
}

/** Numbers that a counter reserves at a time: one write for as many messages. */
export const reservedAhead = 1_024;

/**
 * Gives each message of a sender a position that no other has, also after a crash: numbers are reserved on disk before they are used.
 * A sender whose counter is lost or damaged begins a new instance, under which the keys of groups are others: no nonce repeats.
 *
 * Two processes of one device must not share a store. Should they all the same, such as in two containers that do not see each other's
 * locks, each goes on behind what the other one has reserved.
 */
export class SequenceCounter {
  readonly instance: Uint8Array;
  readonly #store: CounterStore | undefined;
  readonly #ahead: number;
  #next: number;
  /** Numbers below this one are reserved. */
  #reserved: number;
  #reserving: Promise<void> | undefined;

  private constructor(options: {
    readonly instance: Uint8Array;
    readonly next: number;
    readonly store: CounterStore | undefined;
    readonly ahead: number;
  }) {
    this.instance = options.instance;
    this.#next = options.next;
    this.#reserved = options.store === undefined ? sequenceMax + 1 : options.next;
    this.#store = options.store;
    this.#ahead = options.ahead;
  }

  /** Goes on where the last one ended, or begins a new instance where there is none. Fails as `store` does. */
  static async open({
    store,
    nowMs,
    randomBytes,
    ahead = reservedAhead,
  }: CounterOptions): Promise<SequenceCounter> {
    const bytes = await store.load();
    const found = bytes === undefined ? undefined : decodeState(bytes);
    const state = found ?? { instance: newInstance(nowMs, randomBytes), next: 0 };
    const counter = new SequenceCounter({ ...state, store, ahead });
    await counter.#reserve();
    return counter;
  }

  /** A counter that is not kept, for one short-lived process: a new instance each time. */
  static volatile(nowMs: number, randomBytes: (bytes: number) => Uint8Array): SequenceCounter {
    const instance = newInstance(nowMs, randomBytes);
    return new SequenceCounter({ instance, next: 0, store: undefined, ahead: 0 });
  }

  /** The next position. Waits for the disk once in `ahead` messages. Fails as `store` does, and then gives out no number. */
  async next(): Promise<Position> {
    while (this.#next >= this.#reserved) await this.#reserve();
    if (this.#next > sequenceMax) throw new RangeError("all sequence numbers are used up");
    return { instance: this.instance, sequence: this.#next++ };
  }

  /** Gives back what is reserved and not used, at an orderly end; no number may be asked for afterwards. */
  async close(): Promise<void> {
    await this.#reserving;
    const stored = await this.#stored();
    // What another process has reserved behind ours must stay so.
    if (stored !== undefined && stored !== this.#reserved) return;
    this.#reserved = this.#next;
    await this.#store?.save(encodeState(this.instance, this.#next));
  }

  /** The number that is next for whoever opens the store; `undefined` where it holds nothing of this instance. */
  async #stored(): Promise<number | undefined> {
    const bytes = await this.#store?.load();
    const state = bytes === undefined ? undefined : decodeState(bytes);
    return state !== undefined && Buffer.compare(state.instance, this.instance) === 0
      ? state.next
      : undefined;
  }

  #reserve(): Promise<void> {
    this.#reserving ??= this.#save().finally(() => {
      this.#reserving = undefined;
    });
    return this.#reserving;
  }

  async #save(): Promise<void> {
    const stored = await this.#stored();
    if (stored !== undefined && stored > this.#reserved) this.#next = Math.max(this.#next, stored);
    const reserved = Math.min(this.#next + this.#ahead, sequenceMax + 1);
    await this.#store?.save(encodeState(this.instance, reserved));
    this.#reserved = reserved;
  }
}

const version = 1;

function encodeState(instance: Uint8Array, next: number): Buffer {
  return encodeCbor([version, instance, next]);
}

function decodeState(
  bytes: Uint8Array,
): { readonly instance: Uint8Array; readonly next: number } | undefined {
  const decoded = decodeCbor(bytes);
  if (decoded.kind === "malformed" || !isArray(decoded.value)) return undefined;
  const [found, instance, next] = decoded.value;
  if (found !== version || !(instance instanceof Uint8Array) || instance.length !== instanceBytes)
    return undefined;
  return typeof next === "number" && next >= 0 ? { instance, next } : undefined;
}

function isArray(value: CborValue): value is readonly CborValue[] {
  return Array.isArray(value);
}

/** Later instances sort behind earlier ones, which is what receivers forget by; the random part holds where the clock does not. */
function newInstance(nowMs: number, randomBytes: (bytes: number) => Uint8Array): Buffer {
  const instance = Buffer.alloc(instanceBytes);
  instance.writeUInt32BE(Math.max(0, Math.min(0xffff_ffff, Math.floor(nowMs / 1000))));
  instance.set(randomBytes(instanceBytes - 4).subarray(0, instanceBytes - 4), 4);
  return instance;
}
