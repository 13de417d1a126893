import { createPrivateKey } from "node:crypto";

import { ExtensionId, keyHash, type CertificateFields } from "../certificate-fields.ts";
import { Tag, contextPrimitiveTag } from "../der/tag.ts";
import {
  bitString,
  boolean,
  element,
  enumerated,
  explicit,
  headerBytes,
  ia5String,
  integer,
  objectIdentifier,
  octetString,
  sequence,
  serialNumber,
  time,
  writeHeader,
} from "../der/writer.ts";
import { RevocationReason, type Revocation } from "../revocation.ts";
import { sign, signatureAlgorithm } from "../signature.ts";

/** The PEM label that openssl and Node know; "CRL" is none. @see RFC 7468 §7 */
export const crlPemLabel = "X509 CRL";

export interface CrlRequest {
  readonly issuer: CertificateFields;
  /** PEM: the issuer's private key. */
  readonly key: string;
  /** Greater than that of every CRL before. */
  readonly number: number;
  /** Wall clock; whole seconds are written. */
  readonly thisUpdateMs: number;
  /** By when there is a newer one. */
  readonly nextUpdateMs: number;
  readonly revocations: Iterable<Revocation>;
  /**
   * The URL at which it is found, exactly as in the certificates' distribution points: written as issuing distribution point,
   * which some servers demand. It never says that only certificates of some kind are covered: openssl takes such a CRL for one
   * of another scope.
   */
  readonly url?: string;
}

/**
 * A complete, signed CRL of version 2 (DER) for everything its issuer issued. 200,000 entries take about half a second.
 * @throws {RangeError} when a serial number or a time cannot be written.
 * @see RFC 5280 §5
 */
export function encodeCrl(request: CrlRequest): Buffer {
  const { issuer, thisUpdateMs, nextUpdateMs, revocations } = request;
  const key = createPrivateKey(request.key);
  const algorithm = signatureAlgorithm(key);
  const entries = encodeEntries(revocations);
  const signed = sequence(
    integer(1),
    algorithm,
    issuer.subject,
    time(thisUpdateMs),
    time(nextUpdateMs),
    // Absent rather than empty. @see RFC 5280 §5.1.2.6
    ...(entries.length === 0 ? [] : [element(Tag.sequence, entries)]),
    explicit(0, sequence(...crlExtensions(request))),
  );
  return sequence(signed, algorithm, bitString(sign(key, signed)));
}

function extension(oid: string, value: Uint8Array, { critical = false } = {}): Buffer {
  return sequence(objectIdentifier(oid), ...(critical ? [boolean(true)] : []), octetString(value));
}

function crlExtensions({ issuer, number, url }: CrlRequest): Buffer[] {
  const keyIdentifier = issuer.subjectKeyIdentifier ?? keyHash(issuer);
  const extensions = [
    extension(ExtensionId.authorityKeyIdentifier, sequence(element(contextPrimitiveTag(0), keyIdentifier))),
    extension(ExtensionId.cRLNumber, integer(number)),
  ];
  if (url === undefined) return extensions;
  const name = explicit(0, explicit(0, ia5String(url, contextPrimitiveTag(6))));
  return [...extensions, extension(ExtensionId.issuingDistributionPoint, sequence(name), { critical: true })];
}

/** "Unspecified" is said by saying nothing. @see RFC 5280 §5.3.1 */
function entryExtensions(reason: RevocationReason): Buffer {
  if (reason === RevocationReason.unspecified) return Buffer.alloc(0);
  return sequence(extension(ExtensionId.reasonCode, enumerated(reason)));
}

/** Written in place: the elements of half a million small objects, one by one, would take four times as long. */
function encodeEntries(revocations: Iterable<Revocation>): Buffer {
  const reasons = new Map<RevocationReason, Buffer>();
  let target: Buffer = Buffer.allocUnsafe(65_536);
  let offset = 0;
  for (const { serialNumber: serial, revokedAtMs, reason } of revocations) {
    let extensions = reasons.get(reason);
    if (extensions === undefined) {
      extensions = entryExtensions(reason);
      reasons.set(reason, extensions);
    }
    const number = serialNumber(serial);
    const date = time(revokedAtMs);
    const length = number.length + date.length + extensions.length;
    const end = offset + headerBytes(length) + length;
    if (end > target.length) target = enlarge(target, offset, end);
    offset = writeHeader(target, offset, { tag: Tag.sequence, length });
    offset = put(target, offset, number);
    offset = put(target, offset, date);
    offset = put(target, offset, extensions);
  }
  return target.subarray(0, offset);
}

function enlarge(target: Buffer, used: number, needed: number): Buffer {
  const larger = Buffer.allocUnsafe(Math.max(needed, target.length * 2));
  larger.set(target.subarray(0, used));
  return larger;
}

function put(target: Buffer, offset: number, part: Buffer): number {
  target.set(part, offset);
  return offset + part.length;
}
