import { createHmac, createSecretKey, hkdfSync, type KeyObject } from "node:crypto";

/** Bytes of what a device is given: the key of its packets, then the key of its hints. */
export const knockSecretBytes = 64;

/** Bytes of the hint that a packet begins with. */
export const hintBytes = 8;

/** The epoch of the hints of a device that has no clock: the first hour of 1970, where a clock that was never set begins. */
export const clocklessEpoch = 0;

const hintSeconds = 3600;

/** Whose keys: a new `keyVersion` makes all packets of the old one worthless. */
export interface KnockKeyOwner {
  readonly tenant: string;
  readonly device: string;
  readonly keyVersion: number;
}

/** A device's keys, ready for use; neither is ever printed. */
export interface KnockKeys {
  readonly encryption: KeyObject;
  readonly hint: KeyObject;
}

/** Derives what a device is given from the gate's master key (at least 32 random bytes): HKDF-SHA256, 64 bytes. */
export function deriveKnockSecret(master: Uint8Array, { tenant, device, keyVersion }: KnockKeyOwner): Buffer {
  if (master.length < 32) throw new RangeError(`a master key has 32 bytes, this one has ${master.length}`);
  const info = `spa1|${device}|${keyVersion}`;
  return Buffer.from(hkdfSync("sha256", master, tenant, info, knockSecretBytes));
}

/** Throws `RangeError` unless the secret has 64 bytes. */
export function knockKeys(secret: Uint8Array): KnockKeys {
  if (secret.length !== knockSecretBytes) {
    throw new RangeError(`a knock secret has ${knockSecretBytes} bytes, this one has ${secret.length}`);
  }
  return {
    encryption: createSecretKey(secret.subarray(0, 32)),
    hint: createSecretKey(secret.subarray(32)),
  };
}

/** The hour that the hints of this moment belong to. */
export function hintEpoch(unixMs: number): number {
  return Math.floor(unixMs / 1000 / hintSeconds) >>> 0;
}

/** What a device's packets of this hour begin with: it names the device to the gate, and to nobody else. */
export function hintOf(keys: KnockKeys, epoch: number): Buffer {
  const message = Buffer.alloc(5);
  message.write("H", "latin1");
  message.writeUInt32BE(epoch, 1);
  return createHmac("sha256", keys.hint).update(message).digest().subarray(0, hintBytes);
}
