import {
  ExtensionId,
  readAuthorityKeyIdentifier,
  readDistributionPointName,
  readExtensions,
} from "../certificate-fields.ts";
import {
  createDerReader,
  enter,
  fail,
  finish,
  hasMore,
  leave,
  peekTag,
  readBitString,
  readContent,
  readElement,
  readSerialNumber,
  readSmallInteger,
  readTime,
  type Decoded,
  type DerReader,
} from "../der/reader.ts";
import { Tag, contextPrimitiveTag, contextTag } from "../der/tag.ts";
import { fromPem } from "../pem.ts";
import type { Signed } from "../signature.ts";
import { crlPemLabel } from "./encode.ts";

/** An entry of a CRL. */
export interface CrlEntry {
  readonly revokedAtMs: number;
  /** See `RevocationReason`; 0 when it does not say. */
  readonly reason: number;
}

/** A CRL as its bytes say; nothing of it is verified. */
export interface Crl extends Signed {
  /** Name, DER. */
  readonly issuer: Uint8Array;
  readonly thisUpdateMs: number;
  /** `undefined` when it does not say. */
  readonly nextUpdateMs: number | undefined;
  /** CRL number, upper-case hexadecimal; `undefined` when it has none. */
  readonly number: string | undefined;
  readonly authorityKeyIdentifier: Uint8Array | undefined;
  readonly scope: CrlScope | undefined;
  /** Critical extensions, of the list or of an entry, that we do not understand. */
  readonly unknownCritical: readonly string[];
  readonly entryCount: number;
  /** The entry of a serial number (hexadecimal of whole bytes), or `undefined` when it is not revoked. */
  find(serialNumber: string): CrlEntry | undefined;
}

/** What an issuing distribution point says of a CRL. @see RFC 5280 §5.2.5 */
export interface CrlScope {
  readonly urls: readonly string[];
  readonly onlyUserCertificates: boolean;
  readonly onlyAuthorities: boolean;
  readonly onlyAttributeCertificates: boolean;
  readonly onlySomeReasons: boolean;
  /** Holds entries of other issuers. */
  readonly indirect: boolean;
}

/** More entries than this are refused: what they take stays below 200 MB. */
const crlEntriesMax = 2_000_000;

/** Reads a CRL from DER or PEM. */
export function decodeCrl(bytes: Uint8Array): Decoded<Crl> {
  return decodeCrlDer(derOf(bytes));
}

function derOf(bytes: Uint8Array): Uint8Array {
  // DER begins with a SEQUENCE, which is a zero in ASCII.
  if (bytes[0] === Tag.sequence && (bytes[1] ?? 0) >= 0x80) return bytes;
  const [der] = fromPem(crlPemLabel, Buffer.from(bytes).toString("latin1"));
  return der ?? bytes;
}

interface Extensions {
  number: string | undefined;
  authorityKeyIdentifier: Uint8Array | undefined;
  scope: CrlScope | undefined;
}

function decodeCrlDer(bytes: Uint8Array): Decoded<Crl> {
  const reader = createDerReader(bytes);
  const outermost = enter(reader, Tag.sequence, "CRL");
  const signed = readElement({ ...reader }, Tag.sequence, "signed part");
  const outer = enter(reader, Tag.sequence, "signed part");
  if (peekTag(reader) === Tag.integer && readSmallInteger(reader, "version") !== 1)
    fail(reader, "it is of another version than 2");
  const innerAlgorithm = readElement(reader, Tag.sequence, "signature algorithm");
  const issuer = readElement(reader, Tag.sequence, "issuer");
  const thisUpdateMs = readTime(reader, "time of this update");
  const hasNext = peekTag(reader) === Tag.utcTime || peekTag(reader) === Tag.generalizedTime;
  const nextUpdateMs = hasNext ? readTime(reader, "time of the next update") : undefined;
  const unknownCritical = new Set<string>();
  const entries = readEntries(reader, unknownCritical);
  const extensions: Extensions = { number: undefined, authorityKeyIdentifier: undefined, scope: undefined };
  if (peekTag(reader) === contextTag(0)) {
    const outerExtensions = enter(reader, contextTag(0), "extensions");
    readExtensions(reader, (oid, critical, value) => {
      if (!readCrlExtension(oid, value, extensions) && critical) unknownCritical.add(oid);
    });
    leave(reader, outerExtensions, "extensions");
  }
  leave(reader, outer, "signed part");
  const algorithm = readElement(reader, Tag.sequence, "signature algorithm");
  if (reader.failure === undefined && Buffer.compare(algorithm, innerAlgorithm) !== 0)
    fail(reader, "it names two signature algorithms (RFC 5280 §5.1.1.2)");
  const signature = readBitString(reader, "signature");
  leave(reader, outermost, "CRL");
  return finish(reader, {
    issuer,
    thisUpdateMs,
    nextUpdateMs,
    ...extensions,
    unknownCritical: [...unknownCritical],
    entryCount: entries.size,
    find: (serialNumber) => findEntry(bytes, entries, serialNumber),
    signed,
    algorithm,
    signature,
  });
}

/** @returns false for one that we do not know. */
function readCrlExtension(oid: string, value: DerReader, into: Extensions): boolean {
  switch (oid) {
    case ExtensionId.cRLNumber:
      into.number = readSerialNumber(value, "CRL number");
      return true;
    case ExtensionId.authorityKeyIdentifier:
      into.authorityKeyIdentifier = readAuthorityKeyIdentifier(value);
      return true;
    case ExtensionId.issuingDistributionPoint:
      into.scope = readScope(value);
      return true;
    // Where changes are found between two complete lists.
    case ExtensionId.freshestCRL:
      return true;
    default:
      return false;
  }
}

function readScope(reader: DerReader): CrlScope {
  const outer = enter(reader, Tag.sequence, "issuing distribution point");
  const urls = peekTag(reader) === contextTag(0) ? readDistributionPointName(reader) : [];
  const isSet = (number: number): boolean => {
    if (peekTag(reader) !== contextPrimitiveTag(number)) return false;
    const content = readContent(reader, contextPrimitiveTag(number), "scope");
    // Reasons are a BIT STRING; that there are any is what counts.
    return number === 3 || content[0] !== 0;
  };
  const scope = {
    urls,
    onlyUserCertificates: isSet(1),
    onlyAuthorities: isSet(2),
    onlySomeReasons: isSet(3),
    indirect: isSet(4),
    onlyAttributeCertificates: isSet(5),
  };
  leave(reader, outer, "issuing distribution point");
  return scope;
}

/** What was found in the extensions of one entry; the next one's are mostly the same bytes. */
interface EntryExtensions {
  readonly unknownCritical: Set<string>;
  bytes: Uint8Array;
  reason: number;
}

function noExtensions(unknownCritical: Set<string>): EntryExtensions {
  return { unknownCritical, bytes: new Uint8Array(0), reason: 0 };
}

/** Reads through all entries. @returns where each begins, by its serial number. */
function readEntries(reader: DerReader, unknownCritical: Set<string>): Map<string, number> {
  const entries = new Map<string, number>();
  if (peekTag(reader) !== Tag.sequence) return entries;
  const last = noExtensions(unknownCritical);
  const outer = enter(reader, Tag.sequence, "list of revoked certificates");
  while (hasMore(reader)) {
    const { offset } = reader;
    const outerOne = enter(reader, Tag.sequence, "entry");
    entries.set(keyOf(readContent(reader, Tag.integer, "serial number")), offset);
    readTime(reader, "time of revocation");
    readReason(reader, last);
    leave(reader, outerOne, "entry");
    if (entries.size > crlEntriesMax) fail(reader, `it has more than ${crlEntriesMax} entries`);
  }
  leave(reader, outer, "list of revoked certificates");
  return entries;
}

function readReason(reader: DerReader, last: EntryExtensions): number {
  if (!hasMore(reader)) return 0;
  const inner = { ...reader };
  const bytes = readElement(reader, Tag.sequence, "entry's extensions");
  if (Buffer.compare(bytes, last.bytes) === 0) return last.reason;
  last.bytes = bytes;
  last.reason = 0;
  readExtensions(inner, (oid, critical, value) => {
    if (oid === ExtensionId.reasonCode) last.reason = readSmallInteger(value, "reason", Tag.enumerated);
    else if (critical && oid !== ExtensionId.invalidityDate) last.unknownCritical.add(oid);
  });
  if (inner.failure !== undefined) fail(reader, inner.failure);
  return last.reason;
}

/** One-byte strings of the number's bytes: half the memory of hexadecimal, and quicker made. */
function keyOf(serial: Uint8Array): string {
  const start = serial[0] === 0 && serial.length > 1 ? 1 : 0;
  return Buffer.from(serial.buffer, serial.byteOffset + start, serial.length - start).toString("latin1");
}

function findEntry(
  bytes: Uint8Array,
  entries: ReadonlyMap<string, number>,
  serialNumber: string,
): CrlEntry | undefined {
  const offset = entries.get(keyOf(Buffer.from(serialNumber, "hex")));
  if (offset === undefined) return undefined;
  const reader = createDerReader(bytes, offset);
  enter(reader, Tag.sequence, "entry");
  readContent(reader, Tag.integer, "serial number");
  const revokedAtMs = readTime(reader, "time of revocation");
  return { revokedAtMs, reason: readReason(reader, noExtensions(new Set())) };
}
