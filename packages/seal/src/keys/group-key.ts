import { createHmac, createSecretKey, hkdfSync, type KeyObject } from "node:crypto";

import { nonceBytes } from "../aead.ts";
import { encodeCbor } from "../cbor/encode.ts";
import { requireEpoch } from "../envelope/header.ts";

export const groupSecretBytes = 32;

/** Keys of senders that are kept ready, for each group and epoch; beyond that, those used least are derived again. */
export const sendersReadyMax = 1_024;

/** What one sender's messages of one instance are encrypted with: their nonces are its sequence numbers. */
export interface SenderEncryption {
  readonly key: KeyObject;
  readonly baseNonce: Uint8Array;
}

/**
 * The key of a group in one epoch. No message is sealed with it: each sender and instance has keys of its own that are derived from
 * it, so that two senders never share a nonce. Whoever has it can make the keys of every sender: between members it proves only that
 * a message is of some member.
 *
 * ```
 * secret ─┬─ "encryption" ─► root ─ (epoch, sender, instance) ─► AES-256 key, base nonce
 *         └─ "mac" ────────► root ─ (epoch, sender, instance) ─► HMAC key
 * ```
 */
export class GroupKey {
  readonly epoch: number;
  readonly #encryption: KeyObject | undefined;
  readonly #mac: KeyObject;
  readonly #encryptions = new Map<string, SenderEncryption>();
  readonly #macs = new Map<string, KeyObject>();

  private constructor(epoch: number, encryption: KeyObject | undefined, mac: KeyObject) {
    requireEpoch(epoch);
    this.epoch = epoch;
    this.#encryption = encryption;
    this.#mac = mac;
  }

  /** From 32 secret random bytes. Throws `RangeError` for another length. */
  static of(secret: Uint8Array, epoch: number): GroupKey {
    return new GroupKey(epoch, root(secret, "encryption"), root(secret, "mac"));
  }

  /** From what `exportMac` returned: one that makes and checks MACs, and can read nothing that is encrypted. */
  static macOnly(mac: Uint8Array, epoch: number): GroupKey {
    if (mac.length !== groupSecretBytes)
      throw new RangeError(`a MAC key has ${groupSecretBytes} bytes, this one has ${mac.length}`);
    return new GroupKey(epoch, undefined, createSecretKey(mac));
  }

  /** Whether it is of a group that encrypts, and not `macOnly`. */
  get canEncrypt(): boolean {
    return this.#encryption !== undefined;
  }

  /** A secret of 32 bytes, for a broker that is to check the MACs of this group. */
  exportMac(): Buffer {
    return this.#mac.export();
  }

  /** Whether both are the same key of the same epoch. */
  equals(other: GroupKey): boolean {
    return this.epoch === other.epoch && this.canEncrypt === other.canEncrypt && this.#mac.equals(other.#mac);
  }

  /** @returns `undefined` for one that is `macOnly`. Keys that proved right are to be given back to `keep`. */
  encryptionOf(sender: string, instance: Uint8Array): SenderEncryption | undefined {
    if (this.#encryption === undefined) return undefined;
    const known = this.#encryptions.get(cacheKey(sender, instance));
    if (known !== undefined) return known;
    const bytes = this.#derive(this.#encryption, sender, instance, groupSecretBytes + nonceBytes);
    return {
      key: createSecretKey(bytes.subarray(0, groupSecretBytes)),
      baseNonce: bytes.subarray(groupSecretBytes),
    };
  }

  macOf(sender: string, instance: Uint8Array): KeyObject {
    const known = this.#macs.get(cacheKey(sender, instance));
    return known ?? createSecretKey(this.#derive(this.#mac, sender, instance, groupSecretBytes));
  }

  /** Keeps what a message was sealed or opened with; never what a message only claimed, or anybody could fill the table. */
  keepEncryption(sender: string, instance: Uint8Array, encryption: SenderEncryption): void {
    keep(this.#encryptions, cacheKey(sender, instance), encryption);
  }

  /** As `keepEncryption`. */
  keepMac(sender: string, instance: Uint8Array, mac: KeyObject): void {
    keep(this.#macs, cacheKey(sender, instance), mac);
  }

  #derive(key: KeyObject, sender: string, instance: Uint8Array, bytes: number): Buffer {
    const info = encodeCbor(["postern sender", this.epoch, sender, instance]);
    return Buffer.from(hkdfSync("sha256", key, "", info, bytes));
  }
}

function root(secret: Uint8Array, use: "encryption" | "mac"): KeyObject {
  if (secret.length !== groupSecretBytes) {
    throw new RangeError(
      `the secret of a group has ${groupSecretBytes} bytes, this one has ${secret.length}`,
    );
  }
  return createSecretKey(createHmac("sha256", secret).update(`postern group ${use}`).digest());
}

function cacheKey(sender: string, instance: Uint8Array): string {
  return Buffer.from(instance.buffer, instance.byteOffset, instance.length).toString("latin1") + sender;
}

function keep<Value>(map: Map<string, Value>, key: string, value: Value): void {
  if (map.has(key)) return;
  if (map.size >= sendersReadyMax) {
    for (const oldest of map.keys()) {
      map.delete(oldest);
      break;
    }
  }
  map.set(key, value);
}
