import { randomBytes } from "node:crypto";

import type { Binding } from "@postern/seal/envelope/binding";
import { seal } from "@postern/seal/envelope/seal";
import { SequenceCounter } from "@postern/seal/replay/sequence-counter";

import type { SealingKeys } from "./group-keys-file.ts";

/**
 * Seals for a group what was opened for the server, in the name of the device it is of. Its numbers belong to an instance of this
 * process, begun anew with each start: no device has the same, so that no nonce is used twice.
 */
export class Resealer {
  readonly #instance: Uint8Array;
  #sequence = 0;

  constructor(nowMs: number) {
    this.#instance = SequenceCounter.volatile(nowMs, randomBytes).instance;
  }

  /** With the newest key whose time has come: members may not have a newer one yet. */
  seal(payload: Uint8Array, keys: SealingKeys, place: Omit<Binding, "epoch">, nowMs: number): Buffer {
    // Where the clock is behind, members have the oldest.
    const group = (keys.find(({ notBeforeMs }) => notBeforeMs <= nowMs) ?? keys.at(-1))?.key;
    if (group === undefined) throw new RangeError("a group has one key at least");
    const position = { instance: this.#instance, sequence: this.#sequence++ };
    return seal({ mode: "encrypted", group }, { ...place, epoch: group.epoch }, position, payload, {
      sealedAtMs: nowMs,
    });
  }
}
