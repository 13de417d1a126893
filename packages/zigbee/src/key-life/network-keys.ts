import { type AesKey, createAesKey } from "../security/aes.ts";

/** How a network key is handed out. @see thesis 6.3 */
export type NetworkKeyKind = "standard" | "high-security";

/** A network key with its number. */
export interface NetworkKey {
  readonly bytes: Uint8Array;
  readonly sequence: number;
  readonly kind: NetworkKeyKind;
  readonly schedule: AesKey;
}

/**
 * The network keys of a device: the one in use and the one that waits for the switch. The key before stays readable until the next
 * update, for frames that were on their way. @see Zigbee §4.3.3, §4.4.3
 */
export class NetworkKeys {
  #active: NetworkKey | undefined;
  #waiting: NetworkKey | undefined;

  get active(): NetworkKey | undefined {
    return this.#active;
  }

  /** Stores a key: the first one is in use at once, others wait for `switchTo`. */
  store(bytes: Uint8Array, sequence: number, kind: NetworkKeyKind = "standard"): void {
    const key = { bytes: bytes.slice(), sequence, kind, schedule: createAesKey(bytes) };
    if (this.#active === undefined || this.#active.sequence === sequence) this.#active = key;
    else this.#waiting = key;
  }

  /** The key with that number. */
  find(sequence: number): NetworkKey | undefined {
    if (this.#active?.sequence === sequence) return this.#active;
    return this.#waiting?.sequence === sequence ? this.#waiting : undefined;
  }

  /** Takes the waiting key into use; false when there is none of that number, or it is in use already. */
  switchTo(sequence: number): boolean {
    if (this.#waiting?.sequence !== sequence) return false;
    const before = this.#active;
    this.#active = this.#waiting;
    this.#waiting = before;
    return true;
  }

  /** Forgets all of them. */
  clear(): void {
    this.#active = undefined;
    this.#waiting = undefined;
  }
}
