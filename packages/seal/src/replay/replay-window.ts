/** How far behind the highest sequence number a message may arrive late. */
export const windowEntries = 1_024;

const words = windowEntries / 32;

/** What a sequence number is, compared with those that were accepted. */
export type SequenceVerdict = "fresh" | "replayed" | "outside-window";

/**
 * Which sequence numbers of one instance of a sender were accepted: a ring of bits, one for each of the 1,024 up to the highest.
 *
 * ```
 * bit n of the ring: sequence s with s mod 1,024 = n, highest - 1,024 < s <= highest
 * ```
 */
export class ReplayWindow {
  #highest = -1;
  readonly #ring = new Uint32Array(words);

  /** The highest that was accepted; -1 when none was. */
  get highest(): number {
    return this.#highest;
  }

  judge(sequence: number): SequenceVerdict {
    if (sequence > this.#highest) return "fresh";
    if (this.#highest - sequence >= windowEntries) return "outside-window";
    const bit = sequence % windowEntries;
    return (((this.#ring[bit >>> 5] ?? 0) >>> (bit & 31)) & 1) === 1 ? "replayed" : "fresh";
  }

  /** Remembers a number that `judge` found fresh. */
  accept(sequence: number): void {
    const ahead = sequence - this.#highest;
    if (ahead >= windowEntries) this.#ring.fill(0);
    else for (let next = this.#highest + 1; next < sequence; next++) this.#clear(next % windowEntries);
    if (ahead > 0) this.#highest = sequence;
    const bit = sequence % windowEntries;
    this.#ring[bit >>> 5] = (this.#ring[bit >>> 5] ?? 0) | (1 << (bit & 31));
  }

  /** The window as it is to be stored: 128 bytes, bit n of byte m for ring position 8m + n. */
  bits(): Buffer {
    const bytes = Buffer.alloc(windowEntries / 8);
    for (const [index, word] of this.#ring.entries()) bytes.writeUInt32LE(word, 4 * index);
    return bytes;
  }

  /** A window that was stored. */
  static from(highest: number, bits: Uint8Array): ReplayWindow {
    const window = new ReplayWindow();
    const bytes = Buffer.from(bits);
    window.#highest = highest;
    for (let index = 0; index < words; index++) window.#ring[index] = bytes.readUInt32LE(4 * index);
    return window;
  }

  /** A window in which all up to `highest` counts as accepted. */
  static closedUpTo(highest: number): ReplayWindow {
    return ReplayWindow.from(highest, Buffer.alloc(windowEntries / 8, 0xff));
  }

  #clear(bit: number): void {
    this.#ring[bit >>> 5] = (this.#ring[bit >>> 5] ?? 0) & ~(1 << (bit & 31));
  }
}

/** What to say of a message that is `outside-window`. */
export function farBehind(sequence: number, sender: string): string {
  return `message ${sequence} of "${sender}" is more than ${windowEntries.toLocaleString("en")} numbers, or four instances, behind its newest; a device whose clock was wrong when it began to count anew must begin once more with the right time`;
}
