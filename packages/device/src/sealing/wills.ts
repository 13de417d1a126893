import { randomBytes } from "node:crypto";

import type { Position } from "@postern/seal/envelope/position";
import { SequenceCounter, type CounterStore } from "@postern/seal/replay/sequence-counter";

import { DeviceFileError } from "../errors.ts";

/**
 * Numbers for wills, of an instance of their own: a will comes when the connection is over, long after messages with later numbers of
 * the same instance would have left it outside of the window. A CONNECT cannot wait for the disk, so the next number is kept ready.
 */
export class Wills {
  readonly #store: CounterStore;
  readonly #nowMs: number;
  #counter: SequenceCounter | undefined;
  #next: Position | undefined;
  #preparing: Promise<void> | undefined;

  constructor(store: CounterStore, nowMs: number) {
    this.#store = store;
    this.#nowMs = nowMs;
  }

  /** Has a number ready. @throws {DeviceFileError} */
  async ready(): Promise<void> {
    const store = this.#store;
    this.#counter ??= await SequenceCounter.open({ store, nowMs: this.#nowMs, randomBytes, ahead: 1 });
    this.#next ??= await this.#counter.next();
  }

  /** `undefined` where none could be reserved on disk. */
  take(): Position | undefined {
    const taken = this.#next;
    this.#next = undefined;
    this.#preparing ??= this.#prepare();
    return taken;
  }

  async #prepare(): Promise<void> {
    try {
      await this.ready();
    } catch (thrown) {
      // It is tried again with the next connection, which is made without a will.
      if (!(thrown instanceof DeviceFileError)) throw thrown;
    } finally {
      this.#preparing = undefined;
    }
  }

  async close(): Promise<void> {
    await this.#preparing;
    await this.#counter?.close();
  }
}
