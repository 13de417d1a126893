import { type Eui64 } from "./eui64.ts";
import { type AesKey, createAesKey } from "./security/aes.ts";
import { keyLoadKey, keyTransportKey } from "./security/link-key.ts";

/** How a key came to be known. */
export type KeyOrigin =
  | { readonly kind: "given" }
  | { readonly kind: "well-known"; readonly name: string }
  | { readonly kind: "install-code"; readonly device: Eui64 | undefined }
  /** It stood in the capture file's own key block. */
  | { readonly kind: "capture" }
  /** A Transport Key without APS security carried it; `networkSecured`: inside a frame under the network key. */
  | { readonly kind: "clear-transport"; readonly frame: number; readonly networkSecured: boolean }
  | { readonly kind: "transport"; readonly frame: number; readonly under: ZigbeeKey }
  | { readonly kind: "touchlink"; readonly frame: number }
  | { readonly kind: "key-establishment"; readonly frame: number };

/** What a key is for. A key that a person gives may be any of the first three. */
export type KeyUse = "network" | "link" | "mac" | "green-power";

/** Loads node:crypto only when a report names a key: it takes a tenth of the time that a short audit does. */
function fingerprintOf(bytes: Uint8Array): string {
  const { createHash } = process.getBuiltinModule("node:crypto");
  const hash = createHash("sha256").update("postern zigbee key").update(bytes);
  return hash.digest("hex").slice(0, 8);
}

/** A secret key, expanded for use as it is used. Shows a fingerprint and never its bytes, unless asked by `reveal`. */
export class ZigbeeKey {
  readonly #bytes: Uint8Array;
  readonly origin: KeyOrigin;
  /** The key itself: of a NWK or MAC frame, or the data key of a pair of devices. */
  readonly data: AesKey;
  #transport: AesKey | undefined;
  #load: AesKey | undefined;
  #fingerprint: string | undefined;

  /** Throws `RangeError` unless the key has 16 bytes. */
  constructor(bytes: Uint8Array, origin: KeyOrigin) {
    this.data = createAesKey(bytes);
    this.#bytes = bytes.slice();
    this.origin = origin;
  }

  get transport(): AesKey {
    return (this.#transport ??= createAesKey(keyTransportKey(this.#bytes)));
  }

  get load(): AesKey {
    return (this.#load ??= createAesKey(keyLoadKey(this.#bytes)));
  }

  /** A copy of the secret. */
  reveal(): Uint8Array {
    return this.#bytes.slice();
  }

  /** Eight digits that tell keys apart and say nothing of their bytes. */
  get fingerprint(): string {
    return (this.#fingerprint ??= fingerprintOf(this.#bytes));
  }

  /** Looks at every byte, whether one before it differs or not. */
  equals(bytes: Uint8Array): boolean {
    let difference = bytes.length ^ 16;
    for (let index = 0; index < 16; index++) difference |= (bytes[index] ?? 0) ^ (this.#bytes[index] ?? 0);
    return difference === 0;
  }

  toString(): string {
    return `key ${this.fingerprint}`;
  }

  toJSON(): string {
    return this.toString();
  }

  [Symbol.for("nodejs.util.inspect.custom")](): string {
    return this.toString();
  }
}

/** Whether the key comes from what somebody sent, who may send as many as he likes. */
function isLearnt({ kind }: KeyOrigin): boolean {
  return (
    kind === "clear-transport" || kind === "transport" || kind === "touchlink" || kind === "key-establishment"
  );
}

/** The keys that are known, in the order they were learnt. A limit keeps invented transports from filling it. */
export class Keyring {
  readonly #keys: Readonly<Record<KeyUse, ZigbeeKey[]>> = {
    network: [],
    link: [],
    mac: [],
    "green-power": [],
  };

  /** Keys for each use that are kept at most, and of those that a capture gives away. */
  static readonly keysMax = 4_096;
  static readonly learntMax: Readonly<Record<KeyUse, number>> = {
    network: 256,
    link: 1_024,
    mac: 256,
    "green-power": 1_024,
  };
  readonly #learnt: Record<KeyUse, number> = { network: 0, link: 0, mac: 0, "green-power": 0 };
  #size = 0;

  /** The keys for one use. */
  keys(use: KeyUse): readonly ZigbeeKey[] {
    return this.#keys[use];
  }

  /** Of all keys; asked for each frame. */
  get size(): number {
    return this.#size;
  }

  /** The key with these bytes, for that use. */
  find(bytes: Uint8Array, use: KeyUse): ZigbeeKey | undefined {
    return this.#keys[use].find((key) => key.equals(bytes));
  }

  /** Adds a key unless it is known; false when it was, or when there is no room. Throws `RangeError` unless it has 16 bytes. */
  add(bytes: Uint8Array, use: KeyUse, origin: KeyOrigin): boolean {
    const keys = this.#keys[use];
    if (this.find(bytes, use) !== undefined || keys.length >= Keyring.keysMax) return false;
    if (isLearnt(origin) && ++this.#learnt[use] > Keyring.learntMax[use]) return false;
    keys.push(new ZigbeeKey(bytes, origin));
    this.#size += 1;
    return true;
  }
}
