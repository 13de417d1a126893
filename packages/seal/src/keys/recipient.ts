import { createPublicKey, hash, type KeyObject } from "node:crypto";

import { algorithm } from "../cose/registry.ts";
import { kemOf, serializePublicKey } from "../hpke/kem.ts";
import type { HpkeSuite, KemName } from "../hpke/suite.ts";
import { montgomeryPrivateKey, montgomeryPublicKey } from "./montgomery.ts";

/** Bytes that tell one recipient's key from another's. */
export const keyIdBytes = 8;

/** Somebody's public key to encrypt to. */
export interface RecipientKey {
  readonly kem: KemName;
  readonly publicKey: KeyObject;
  /** The first 8 bytes of the SHA-256 of the key as HPKE sends it. */
  readonly id: Uint8Array;
}

/** One's own private key for what was encrypted to the public one. */
export interface DecryptionKey {
  readonly kem: KemName;
  readonly privateKey: KeyObject;
  readonly id: Uint8Array;
}

interface KemAlgorithm {
  readonly number: number;
  readonly suite: HpkeSuite;
}

/** How a key is encrypted to recipients, by their kind of key. */
export const kemAlgorithms: Readonly<Record<KemName, KemAlgorithm>> = {
  X25519: { number: algorithm.hpke4KeyEncryption, suite: { kem: "X25519", aead: "ChaCha20-Poly1305" } },
  "P-256": { number: algorithm.hpke7KeyEncryption, suite: { kem: "P-256", aead: "AES-256-GCM" } },
};

/**
 * From the public key of a certificate (P-256, or Ed25519, which is converted), or an X25519 key. Throws `TypeError` for another.
 * Converting takes a tenth of a millisecond: keep what is returned.
 */
export function recipientKey(key: KeyObject): RecipientKey {
  if (key.type !== "public") throw new TypeError("encrypting to a recipient takes a public key");
  const publicKey = key.asymmetricKeyType === "ed25519" ? montgomeryPublicKey(key) : key;
  return { kem: requireKem(publicKey), publicKey, id: keyId(publicKey) };
}

/** From the private key of a certificate (P-256, or Ed25519, which is converted), or an X25519 key. Throws `TypeError` for another. */
export function decryptionKey(key: KeyObject): DecryptionKey {
  if (key.type !== "private") throw new TypeError("decrypting takes a private key");
  const privateKey = key.asymmetricKeyType === "ed25519" ? montgomeryPrivateKey(key) : key;
  return { kem: requireKem(privateKey), privateKey, id: keyId(createPublicKey(privateKey)) };
}

function requireKem(key: KeyObject): KemName {
  const kem = kemOf(key);
  if (kem === undefined) throw new TypeError("encryption is to keys of P-256, Ed25519 or X25519");
  return kem;
}

function keyId(publicKey: KeyObject): Buffer {
  return hash("sha256", serializePublicKey(publicKey), "buffer").subarray(0, keyIdBytes);
}
