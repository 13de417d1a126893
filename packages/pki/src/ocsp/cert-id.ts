import { hash } from "node:crypto";

import type { CertificateFields } from "../certificate-fields.ts";
import {
  enter,
  fail,
  hasMore,
  leave,
  readContent,
  readElement,
  readObjectIdentifier,
  readSerialNumber,
  type DerReader,
} from "../der/reader.ts";
import { Tag } from "../der/tag.ts";
import { nullValue, objectIdentifier, octetString, sequence, serialNumber } from "../der/writer.ts";

/** Hashes that name an issuer. SHA-1 is what every responder understands; nothing is proved by it. @see RFC 5019 §2.1.1 */
const hashes = { sha1: "1.3.14.3.2.26", sha256: "2.16.840.1.101.3.4.2.1" } as const;
export type CertIdHash = keyof typeof hashes;

/** Which certificate is asked about. @see RFC 6960 §4.1.1 */
export interface CertId {
  /** `undefined` when it is one that we do not know. */
  readonly hash: CertIdHash | undefined;
  readonly issuerNameHash: Uint8Array;
  readonly issuerKeyHash: Uint8Array;
  /** Upper-case hexadecimal. */
  readonly serialNumber: string;
  /** The CertID as it stands there, to be given back unchanged. */
  readonly der: Uint8Array;
}

function hashOf(oid: string): CertIdHash | undefined {
  if (oid === hashes.sha1) return "sha1";
  return oid === hashes.sha256 ? "sha256" : undefined;
}

export function encodeCertId(issuer: CertificateFields, serial: string, algorithm: CertIdHash): Buffer {
  return sequence(
    // With NULL: openssl compares it byte by byte with its own.
    sequence(objectIdentifier(hashes[algorithm]), nullValue()),
    octetString(hash(algorithm, issuer.subject, "buffer")),
    octetString(hash(algorithm, issuer.publicKey, "buffer")),
    serialNumber(serial),
  );
}

export function readCertId(reader: DerReader): CertId {
  const der = readElement({ ...reader }, Tag.sequence, "CertID");
  const outer = enter(reader, Tag.sequence, "CertID");
  const outerAlgorithm = enter(reader, Tag.sequence, "hash algorithm");
  const algorithm = hashOf(readObjectIdentifier(reader, "hash algorithm"));
  if (hasMore(reader)) readContent(reader, Tag.null, "parameters");
  leave(reader, outerAlgorithm, "hash algorithm");
  const issuerNameHash = readContent(reader, Tag.octetString, "hash of the issuer's name");
  const issuerKeyHash = readContent(reader, Tag.octetString, "hash of the issuer's key");
  if (issuerNameHash.length > 64 || issuerKeyHash.length > 64) fail(reader, "a hash of more than 64 bytes");
  const serial = readSerialNumber(reader, "serial number");
  leave(reader, outer, "CertID");
  return { hash: algorithm, issuerNameHash, issuerKeyHash, serialNumber: serial, der };
}

/** Whether it names a certificate of this issuer. */
export function isIssuedBy(certId: CertId, issuer: CertificateFields): boolean {
  if (certId.hash === undefined) return false;
  return (
    Buffer.compare(certId.issuerNameHash, hash(certId.hash, issuer.subject, "buffer")) === 0 &&
    Buffer.compare(certId.issuerKeyHash, hash(certId.hash, issuer.publicKey, "buffer")) === 0
  );
}
