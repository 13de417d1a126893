import { createPublicKey, sign, type KeyObject } from "node:crypto";

import { formatDeviceUri, type DeviceUri } from "./device-uri.ts";
import { contextPrimitiveTag, Tag } from "./der/tag.ts";
import {
  bitString,
  element,
  explicit,
  ia5String,
  integer,
  objectIdentifier,
  octetString,
  sequence,
  setOf,
} from "./der/writer.ts";

/** Signature algorithm and digest for each kind of key (as node:crypto names it). @see RFC 5758 §3.2, RFC 8410 §3 */
const schemes: Readonly<Record<string, { readonly oid: string; readonly digest: string | null }>> = {
  prime256v1: { oid: "1.2.840.10045.4.3.2", digest: "sha256" },
  secp384r1: { oid: "1.2.840.10045.4.3.3", digest: "sha384" },
  ed25519: { oid: "1.3.101.112", digest: null },
};

export interface NewRequest {
  /** The private key: P-256, P-384 or Ed25519. */
  readonly key: KeyObject;
  /** The subject's common name. */
  readonly device: string;
  /** Asks for the device's URI as well. @see RFC 7030 §4.2.2, which wants it for renewals */
  readonly tenant?: string;
  /** @see RFC 7030 §3.5 */
  readonly challengePassword?: string;
}

function attribute(oid: string, value: Uint8Array): Buffer {
  return sequence(objectIdentifier(oid), setOf(value));
}

function subjectAltName(uri: DeviceUri): Buffer {
  const names = sequence(ia5String(formatDeviceUri(uri), contextPrimitiveTag(6)));
  return sequence(sequence(objectIdentifier("2.5.29.17"), octetString(names)));
}

/**
 * A certification request (DER) signed with `key`. @see RFC 2986
 * @throws {RangeError} for a key of another kind, or a name that is none.
 */
export function createRequest({ key, device, tenant, challengePassword }: NewRequest): Buffer {
  const scheme = schemes[key.asymmetricKeyDetails?.namedCurve ?? key.asymmetricKeyType ?? ""];
  if (scheme === undefined) throw new RangeError("only P-256, P-384 and Ed25519 keys can be certified");
  const subject = sequence(
    setOf(sequence(objectIdentifier("2.5.4.3"), element(Tag.utf8String, Buffer.from(device, "utf8")))),
  );
  const attributes = [
    ...(tenant === undefined ? [] : [attribute("1.2.840.113549.1.9.14", subjectAltName({ tenant, device }))]),
    ...(challengePassword === undefined
      ? []
      : [attribute("1.2.840.113549.1.9.7", element(Tag.utf8String, Buffer.from(challengePassword, "utf8")))]),
  ].toSorted((a, b) => Buffer.compare(a, b));
  const spki = createPublicKey(key).export({ format: "der", type: "spki" });
  const info = sequence(integer(0), subject, spki, explicit(0, ...attributes));
  const signature = sign(scheme.digest, info, key);
  return sequence(info, sequence(objectIdentifier(scheme.oid)), bitString(signature));
}
