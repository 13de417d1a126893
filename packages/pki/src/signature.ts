/** Signatures of certificates, CRLs and OCSP answers. @see RFC 5758, RFC 8410, RFC 4055 */
import { createPublicKey, sign as signBytes, verify as verifyBytes, type KeyObject } from "node:crypto";

import { createDerReader, enter, hasMore, leave, readElement, readObjectIdentifier } from "./der/reader.ts";
import { Tag } from "./der/tag.ts";
import { nullValue, objectIdentifier, sequence } from "./der/writer.ts";

interface Scheme {
  readonly oid: string;
  readonly keyType: "ec" | "ed25519" | "rsa";
  /** `undefined` where the scheme hashes by itself. */
  readonly digest: string | undefined;
}

/** What we verify by; nothing with MD5 or SHA-1. The first of a key's type is what we sign by. */
const schemes: readonly Scheme[] = [
  { oid: "1.2.840.10045.4.3.2", keyType: "ec", digest: "sha256" },
  { oid: "1.2.840.10045.4.3.3", keyType: "ec", digest: "sha384" },
  { oid: "1.2.840.10045.4.3.4", keyType: "ec", digest: "sha512" },
  { oid: "1.3.101.112", keyType: "ed25519", digest: undefined },
  { oid: "1.2.840.113549.1.1.11", keyType: "rsa", digest: "sha256" },
  { oid: "1.2.840.113549.1.1.12", keyType: "rsa", digest: "sha384" },
  { oid: "1.2.840.113549.1.1.13", keyType: "rsa", digest: "sha512" },
];

function schemeOf(key: KeyObject): Scheme {
  const scheme = schemes.find(({ keyType }) => keyType === key.asymmetricKeyType);
  if (scheme === undefined)
    throw new TypeError(`a key of type ${key.asymmetricKeyType ?? key.type} signs nothing here`);
  return scheme;
}

/** The AlgorithmIdentifier (DER) of what {@link sign} makes with this key. @throws {TypeError} for a key of another kind than EC, Ed25519 and RSA. */
export function signatureAlgorithm(key: KeyObject): Buffer {
  const { oid, keyType } = schemeOf(key);
  return keyType === "rsa" ? sequence(objectIdentifier(oid), nullValue()) : sequence(objectIdentifier(oid));
}

/** @throws as {@link signatureAlgorithm}. */
export function sign(key: KeyObject, signed: Uint8Array): Buffer {
  return signBytes(schemeOf(key).digest ?? null, signed, key);
}

/** What a signed structure consists of; all of it DER as it was found. */
export interface Signed {
  /** The bytes that are signed. */
  readonly signed: Uint8Array;
  /** AlgorithmIdentifier. */
  readonly algorithm: Uint8Array;
  readonly signature: Uint8Array;
}

/** Whether `key` signed it by a scheme we know. Never throws. */
export function isSignedBy({ signed, algorithm, signature }: Signed, key: KeyObject): boolean {
  const oid = algorithmOf(algorithm);
  const scheme = schemes.find((known) => known.oid === oid);
  if (scheme === undefined || scheme.keyType !== key.asymmetricKeyType) return false;
  try {
    return verifyBytes(scheme.digest ?? null, signed, key, signature);
  } catch {
    return false;
  }
}

/** The algorithm's object identifier; "" for what is no AlgorithmIdentifier. */
function algorithmOf(algorithm: Uint8Array): string {
  const reader = createDerReader(algorithm);
  const outer = enter(reader, Tag.sequence, "algorithm");
  const oid = readObjectIdentifier(reader, "algorithm");
  if (hasMore(reader)) readElement(reader, -1, "parameters");
  leave(reader, outer, "algorithm");
  return reader.failure === undefined ? oid : "";
}

/** The key in a SubjectPublicKeyInfo; `undefined` when it is none that this runtime knows. */
export function importPublicKey(spki: Uint8Array): KeyObject | undefined {
  try {
    return createPublicKey({ key: Buffer.from(spki), format: "der", type: "spki" });
  } catch {
    return undefined;
  }
}
