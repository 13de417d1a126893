import { type Eui64 } from "../eui64.ts";

/** What a device keeps of a peer that it trusts. @see thesis 6.4.1, IEEE 802.15.4-2003 §7.5.9 */
export interface AccessControlEntry {
  readonly address: Eui64;
  /** The level that frames of the peer must have, 0 to 7. */
  readonly level: number;
  readonly key: Uint8Array;
  /** The lowest frame counter that is still new. */
  frameCounter: number;
}

/** What the list says of a frame. */
export type AccessVerdict =
  | { readonly kind: "trusted"; readonly entry: AccessControlEntry }
  | { readonly kind: "refused"; readonly reason: "unknown" | "level" | "stale" };

/** The peers of a device, each with its security policy, within a limit. */
export class AccessControlList {
  readonly #entries = new Map<Eui64, AccessControlEntry>();
  readonly #entriesMax: number;

  constructor(entriesMax = 255) {
    this.#entriesMax = entriesMax;
  }

  /** Adds or replaces a peer; false when there is no room. Throws `RangeError` on a level that is none. */
  set(entry: AccessControlEntry): boolean {
    if (!Number.isInteger(entry.level) || entry.level < 0 || entry.level > 7) {
      throw new RangeError(`${entry.level} is not a security level from 0 to 7`);
    }
    if (!this.#entries.has(entry.address) && this.#entries.size >= this.#entriesMax) return false;
    this.#entries.set(entry.address, entry);
    return true;
  }

  delete(address: Eui64): boolean {
    return this.#entries.delete(address);
  }

  get size(): number {
    return this.#entries.size;
  }

  /** Whether a frame with that level and counter may be read. Its key is in the entry. */
  judge(source: Eui64, level: number, frameCounter: number): AccessVerdict {
    const entry = this.#entries.get(source);
    if (entry === undefined) return { kind: "refused", reason: "unknown" };
    if (level !== entry.level) return { kind: "refused", reason: "level" };
    if (level > 0 && frameCounter < entry.frameCounter) return { kind: "refused", reason: "stale" };
    return { kind: "trusted", entry };
  }

  /** A frame was read and proved genuine. */
  accept(source: Eui64, frameCounter: number): void {
    const entry = this.#entries.get(source);
    if (entry !== undefined) entry.frameCounter = Math.max(entry.frameCounter, frameCounter + 1);
  }
}
