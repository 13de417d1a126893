import { sign, verify, type KeyObject } from "node:crypto";

import { algorithm } from "../cose/registry.ts";

interface Scheme {
  readonly algorithm: number;
  /** `null` where the algorithm has its own. */
  readonly hash: "sha256" | "sha384" | null;
}

/** A private key that signs: of a device's certificate, or of a key authority. */
export interface SigningKey extends Scheme {
  readonly privateKey: KeyObject;
}

/** A public key that signatures are checked with. */
export interface VerifyingKey extends Scheme {
  readonly publicKey: KeyObject;
}

/** Ed25519, P-256 or P-384. Throws `TypeError` for another key. */
export function signingKey(privateKey: KeyObject): SigningKey {
  if (privateKey.type !== "private") throw new TypeError("signing takes a private key");
  return { ...schemeOf(privateKey), privateKey };
}

/** Ed25519, P-256 or P-384. Throws `TypeError` for another key. */
export function verifyingKey(publicKey: KeyObject): VerifyingKey {
  if (publicKey.type !== "public") throw new TypeError("checking signatures takes a public key");
  return { ...schemeOf(publicKey), publicKey };
}

/** @returns 64 bytes, or 96 for P-384. @see RFC 9053 §2 */
export function signatureOf({ privateKey, hash }: SigningKey, data: Uint8Array): Buffer {
  return sign(hash, data, { key: privateKey, dsaEncoding: "ieee-p1363" });
}

export function isSignature(
  { publicKey, hash }: VerifyingKey,
  data: Uint8Array,
  signature: Uint8Array,
): boolean {
  return verify(hash, data, { key: publicKey, dsaEncoding: "ieee-p1363" }, signature);
}

function schemeOf(key: KeyObject): Scheme {
  if (key.asymmetricKeyType === "ed25519") return { algorithm: algorithm.eddsa, hash: null };
  const curve = key.asymmetricKeyType === "ec" ? key.asymmetricKeyDetails?.namedCurve : undefined;
  if (curve === "prime256v1") return { algorithm: algorithm.es256, hash: "sha256" };
  if (curve === "secp384r1") return { algorithm: algorithm.es384, hash: "sha384" };
  throw new TypeError("signatures are made with keys of Ed25519, P-256 or P-384");
}
