import { ExtensionId, readExtensions, type CertificateFields } from "../certificate-fields.ts";
import {
  createDerReader,
  enter,
  fail,
  finish,
  hasMore,
  leave,
  peekTag,
  readContent,
  readElement,
  readSmallInteger,
  type Decoded,
  type DerReader,
} from "../der/reader.ts";
import { Tag, contextTag } from "../der/tag.ts";
import { explicit, objectIdentifier, octetString, sequence } from "../der/writer.ts";
import { encodeCertId, readCertId, type CertId, type CertIdHash } from "./cert-id.ts";

/** What a client asks a responder. @see RFC 6960 §4.1 */
export interface OcspRequest {
  readonly certIds: readonly CertId[];
  readonly nonce: Uint8Array | undefined;
}

/** Certificates that one request may ask about. A server asks about one, a client with its whole chain about three. */
export const ocspCertIdsMax = 8;

/** @see RFC 9654 §2.1 */
export const nonceBytes = 32;
const nonceBytesMax = 128;

export interface OcspQuestion {
  /** Hexadecimal of whole bytes. */
  readonly serialNumber: string;
  readonly issuer: CertificateFields;
  /** Random, 32 bytes, or `undefined` to take an answer that others got as well. */
  readonly nonce: Uint8Array | undefined;
  readonly hash?: CertIdHash;
}

/** A request about one certificate (DER). @see RFC 5019 §2.1, RFC 9654 §2.1 */
export function encodeOcspRequest({ serialNumber, issuer, nonce, hash = "sha1" }: OcspQuestion): Buffer {
  const extensions = nonce === undefined ? [] : [explicit(2, sequence(encodeNonce(nonce)))];
  const requests = sequence(sequence(encodeCertId(issuer, serialNumber, hash)));
  return sequence(sequence(requests, ...extensions));
}

/** The nonce extension. */
export function encodeNonce(nonce: Uint8Array): Buffer {
  return sequence(objectIdentifier(ExtensionId.ocspNonce), octetString(octetString(nonce)));
}

/** Reads the value of a nonce extension. @see RFC 9654 §2.1: of 1 to 128 bytes, everything else is malformed. */
export function readNonce(reader: DerReader): Uint8Array {
  const nonce = readContent(reader, Tag.octetString, "nonce");
  if (reader.failure === undefined && (nonce.length === 0 || nonce.length > nonceBytesMax))
    fail(reader, `a nonce of ${nonce.length} bytes (RFC 9654 §2.1)`);
  if (hasMore(reader)) fail(reader, "bytes follow the nonce");
  return nonce;
}

/** Reads a request from DER. A signature on it is not looked at: everybody may ask. */
export function decodeOcspRequest(bytes: Uint8Array): Decoded<OcspRequest> {
  const reader = createDerReader(bytes);
  const outermost = enter(reader, Tag.sequence, "OCSP request");
  const outer = enter(reader, Tag.sequence, "TBSRequest");
  readVersion(reader);
  if (peekTag(reader) === contextTag(1)) readElement(reader, contextTag(1), "requestor's name");
  const certIds: CertId[] = [];
  const outerList = enter(reader, Tag.sequence, "request list");
  while (hasMore(reader)) {
    if (certIds.length === ocspCertIdsMax)
      fail(reader, `it asks about more than ${ocspCertIdsMax} certificates`);
    const outerOne = enter(reader, Tag.sequence, "request");
    certIds.push(readCertId(reader));
    if (peekTag(reader) === contextTag(0)) readTaggedExtensions(reader, 0, () => false);
    leave(reader, outerOne, "request");
  }
  leave(reader, outerList, "request list");
  if (reader.failure === undefined && certIds.length === 0) fail(reader, "it asks about nothing");
  let nonce: Uint8Array | undefined;
  if (peekTag(reader) === contextTag(2)) {
    readTaggedExtensions(reader, 2, (oid, value) => {
      if (oid !== ExtensionId.ocspNonce) return false;
      nonce = readNonce(value);
      return true;
    });
  }
  leave(reader, outer, "TBSRequest");
  if (peekTag(reader) === contextTag(0)) readElement(reader, contextTag(0), "signature");
  leave(reader, outermost, "OCSP request");
  return finish(reader, { certIds, nonce });
}

/** `[0] EXPLICIT Version`: absent, or 1, which is written as 0. */
export function readVersion(reader: DerReader): void {
  if (peekTag(reader) !== contextTag(0)) return;
  const outer = enter(reader, contextTag(0), "version");
  if (readSmallInteger(reader, "version") !== 0) fail(reader, "it is of another version than 1");
  leave(reader, outer, "version");
}

/** `[number] EXPLICIT Extensions`; a critical one that `take` does not know is a failure. */
export function readTaggedExtensions(
  reader: DerReader,
  number: number,
  take: (oid: string, value: DerReader) => boolean,
): void {
  const outer = enter(reader, contextTag(number), "extensions");
  readExtensions(reader, (oid, critical, value) => {
    if (!take(oid, value) && critical) fail(value, "critical and not understood");
  });
  leave(reader, outer, "extensions");
}
