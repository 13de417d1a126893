import { hash } from "node:crypto";

import {
  createDerReader,
  enter,
  fail,
  finish,
  hasMore,
  leave,
  peekTag,
  readBitString,
  readBoolean,
  readContent,
  readElement,
  readNamedBits,
  readObjectIdentifier,
  readSerialNumber,
  readSmallInteger,
  readTime,
  type Decoded,
  type DerReader,
} from "./der/reader.ts";
import { Tag, contextPrimitiveTag, contextTag } from "./der/tag.ts";
import type { Signed } from "./signature.ts";

/** Bits of the key usage extension: `keyUsage & KeyUsage.keyCertSign`. @see RFC 5280 §4.2.1.3 */
export const KeyUsage = {
  digitalSignature: 1 << 0,
  keyCertSign: 1 << 5,
  cRLSign: 1 << 6,
} as const;

/** The extensions we understand. A critical one that is not here forbids the use of the certificate. @see RFC 5280 §4.2 */
export const ExtensionId = {
  subjectKeyIdentifier: "2.5.29.14",
  keyUsage: "2.5.29.15",
  subjectAltName: "2.5.29.17",
  basicConstraints: "2.5.29.19",
  cRLNumber: "2.5.29.20",
  reasonCode: "2.5.29.21",
  invalidityDate: "2.5.29.24",
  issuingDistributionPoint: "2.5.29.28",
  cRLDistributionPoints: "2.5.29.31",
  certificatePolicies: "2.5.29.32",
  authorityKeyIdentifier: "2.5.29.35",
  extKeyUsage: "2.5.29.37",
  freshestCRL: "2.5.29.46",
  authorityInfoAccess: "1.3.6.1.5.5.7.1.1",
  tlsFeature: "1.3.6.1.5.5.7.1.24",
  ocspNoCheck: "1.3.6.1.5.5.7.48.1.5",
  ocspNonce: "1.3.6.1.5.5.7.48.1.2",
} as const;

/** A certificate's fields as its bytes say; DER parts are views into those bytes. @see RFC 5280 §4.1 */
export interface CertificateFields extends Signed {
  /** Upper-case hexadecimal. */
  readonly serialNumber: string;
  /** Name, DER. */
  readonly issuer: Uint8Array;
  /** Name, DER. */
  readonly subject: Uint8Array;
  readonly notBeforeMs: number;
  readonly notAfterMs: number;
  /** SubjectPublicKeyInfo, DER. */
  readonly publicKeyInfo: Uint8Array;
  /** The key's bits alone, over which key hashes are made. */
  readonly publicKey: Uint8Array;
  readonly authority: boolean;
  /** How many authorities may follow below; `undefined` for any number. */
  readonly pathLength: number | undefined;
  /** See {@link KeyUsage}; `undefined` when it does not say, which allows everything. */
  readonly keyUsage: number | undefined;
  /** Object identifiers; `undefined` when it does not say. */
  readonly purposes: readonly string[] | undefined;
  readonly subjectKeyIdentifier: Uint8Array | undefined;
  readonly authorityKeyIdentifier: Uint8Array | undefined;
  /** URIs of CRLs that cover all reasons and are signed by the issuer itself. */
  readonly crlUrls: readonly string[];
  readonly ocspUrls: readonly string[];
  /** The server promises to staple an OCSP answer. @see RFC 7633 */
  readonly mustStaple: boolean;
  /** The certificate of an OCSP responder that need not be checked itself. @see RFC 6960 §4.2.2.2.1 */
  readonly ocspNoCheck: boolean;
  /** Critical extensions that we do not understand. */
  readonly unknownCritical: readonly string[];
}

/** Readings of one certificate with this many of anything are enough. */
const listMax = 64;

interface Extensions {
  authority: boolean;
  pathLength: number | undefined;
  keyUsage: number | undefined;
  purposes: string[] | undefined;
  subjectKeyIdentifier: Uint8Array | undefined;
  authorityKeyIdentifier: Uint8Array | undefined;
  crlUrls: string[];
  ocspUrls: string[];
  mustStaple: boolean;
  ocspNoCheck: boolean;
  unknownCritical: string[];
}

/** Reads a certificate from DER. */
export function decodeCertificateFields(bytes: Uint8Array): Decoded<CertificateFields> {
  const reader = createDerReader(bytes);
  const outermost = enter(reader, Tag.sequence, "certificate");
  const signed = readElement({ ...reader }, Tag.sequence, "signed part");
  const outer = enter(reader, Tag.sequence, "signed part");
  if (peekTag(reader) === contextTag(0)) readElement(reader, contextTag(0), "version");
  const serialNumber = readSerialNumber(reader, "serial number");
  const innerAlgorithm = readElement(reader, Tag.sequence, "signature algorithm");
  const issuer = readElement(reader, Tag.sequence, "issuer");
  const outerValidity = enter(reader, Tag.sequence, "validity");
  const notBeforeMs = readTime(reader, "start of validity");
  const notAfterMs = readTime(reader, "end of validity");
  leave(reader, outerValidity, "validity");
  const subject = readElement(reader, Tag.sequence, "subject");
  const publicKeyInfo = readElement(reader, Tag.sequence, "public key");
  for (const number of [1, 2]) {
    if (peekTag(reader) === contextPrimitiveTag(number)) readElement(reader, -1, "unique identifier");
  }
  const extensions = readCertificateExtensions(reader);
  leave(reader, outer, "signed part");
  const algorithm = readElement(reader, Tag.sequence, "signature algorithm");
  if (reader.failure === undefined && Buffer.compare(algorithm, innerAlgorithm) !== 0)
    fail(reader, "it names two signature algorithms (RFC 5280 §4.1.1.2)");
  const signature = readBitString(reader, "signature");
  leave(reader, outermost, "certificate");
  const publicKey = readPublicKey(reader, publicKeyInfo);
  return finish(reader, {
    serialNumber,
    issuer,
    subject,
    notBeforeMs,
    notAfterMs,
    publicKeyInfo,
    publicKey,
    ...extensions,
    signed,
    algorithm,
    signature,
  });
}

function readPublicKey(reader: DerReader, publicKeyInfo: Uint8Array): Uint8Array {
  if (reader.failure !== undefined) return publicKeyInfo;
  const inner = createDerReader(publicKeyInfo);
  enter(inner, Tag.sequence, "public key");
  readElement(inner, Tag.sequence, "key algorithm");
  const publicKey = readBitString(inner, "public key");
  if (inner.failure !== undefined) fail(reader, inner.failure);
  return publicKey;
}

function readCertificateExtensions(reader: DerReader): Extensions {
  const found: Extensions = {
    authority: false,
    pathLength: undefined,
    keyUsage: undefined,
    purposes: undefined,
    subjectKeyIdentifier: undefined,
    authorityKeyIdentifier: undefined,
    crlUrls: [],
    ocspUrls: [],
    mustStaple: false,
    ocspNoCheck: false,
    unknownCritical: [],
  };
  if (peekTag(reader) !== contextTag(3)) return found;
  const outer = enter(reader, contextTag(3), "extensions");
  readExtensions(reader, (oid, critical, value) => {
    const read = certificateExtensions[oid];
    if (read !== undefined) read(value, found);
    else if (critical) found.unknownCritical.push(oid);
  });
  leave(reader, outer, "extensions");
  return found;
}

/**
 * Reads a SEQUENCE of extensions; `take` is handed a reader over each one's value, whose failure becomes that of `reader`.
 * Two of one kind are a failure. @see RFC 5280 §4.2
 */
export function readExtensions(
  reader: DerReader,
  take: (oid: string, critical: boolean, value: DerReader) => void,
): void {
  const seen = new Set<string>();
  const outer = enter(reader, Tag.sequence, "extensions");
  while (hasMore(reader)) {
    const outerOne = enter(reader, Tag.sequence, "extension");
    const oid = readObjectIdentifier(reader, "extension's name");
    const critical = peekTag(reader) === Tag.boolean && readBoolean(reader, "criticality");
    const value = createDerReader(readContent(reader, Tag.octetString, "extension's value"));
    leave(reader, outerOne, "extension");
    if (reader.failure !== undefined) return;
    if (seen.has(oid) || seen.size >= listMax)
      fail(reader, "an extension stands there twice, or there are too many");
    seen.add(oid);
    take(oid, critical, value);
    if (value.failure !== undefined) fail(reader, `in the extension ${oid}: ${value.failure}`);
  }
  leave(reader, outer, "extensions");
}

type ReadExtension = (reader: DerReader, into: Extensions) => void;

const certificateExtensions: Readonly<Record<string, ReadExtension>> = {
  [ExtensionId.basicConstraints](reader, into) {
    const outer = enter(reader, Tag.sequence, "basic constraints");
    if (peekTag(reader) === Tag.boolean) into.authority = readBoolean(reader, "authority");
    if (hasMore(reader)) into.pathLength = readSmallInteger(reader, "path length");
    leave(reader, outer, "basic constraints");
  },
  [ExtensionId.keyUsage](reader, into) {
    into.keyUsage = readNamedBits(reader, "key usage");
  },
  [ExtensionId.extKeyUsage](reader, into) {
    const purposes: string[] = [];
    const outer = enter(reader, Tag.sequence, "extended key usage");
    while (hasMore(reader)) purposes.push(readObjectIdentifier(reader, "purpose"));
    leave(reader, outer, "extended key usage");
    into.purposes = purposes;
  },
  [ExtensionId.subjectKeyIdentifier](reader, into) {
    into.subjectKeyIdentifier = readContent(reader, Tag.octetString, "subject key identifier");
  },
  [ExtensionId.authorityKeyIdentifier](reader, into) {
    into.authorityKeyIdentifier = readAuthorityKeyIdentifier(reader);
  },
  [ExtensionId.cRLDistributionPoints](reader, into) {
    const outer = enter(reader, Tag.sequence, "CRL distribution points");
    while (hasMore(reader)) into.crlUrls.push(...readDistributionPoint(reader));
    leave(reader, outer, "CRL distribution points");
  },
  [ExtensionId.authorityInfoAccess](reader, into) {
    const outer = enter(reader, Tag.sequence, "authority information access");
    while (hasMore(reader)) {
      const outerOne = enter(reader, Tag.sequence, "access description");
      const method = readObjectIdentifier(reader, "access method");
      const urls = readUris(reader);
      leave(reader, outerOne, "access description");
      if (method === ocspAccessMethod) into.ocspUrls.push(...urls);
    }
    leave(reader, outer, "authority information access");
  },
  [ExtensionId.tlsFeature](reader, into) {
    const outer = enter(reader, Tag.sequence, "TLS features");
    while (hasMore(reader))
      if (readSmallInteger(reader, "TLS feature") === statusRequest) into.mustStaple = true;
    leave(reader, outer, "TLS features");
  },
  [ExtensionId.ocspNoCheck](_reader, into) {
    into.ocspNoCheck = true;
  },
  // node:crypto reads names; that they are critical is no obstacle.
  [ExtensionId.subjectAltName]() {},
  // No policy is asked for, so every policy will do. @see RFC 5280 §6.1.1 (c)
  [ExtensionId.certificatePolicies]() {},
};

/** @see RFC 5280 §4.2.2.1 */
export const ocspAccessMethod = "1.3.6.1.5.5.7.48.1";
/** The TLS extension of stapling. @see RFC 6066 §8 */
const statusRequest = 5;

/** The key identifier; `undefined` when it has none. @see RFC 5280 §4.2.1.1 */
export function readAuthorityKeyIdentifier(reader: DerReader): Uint8Array | undefined {
  const outer = enter(reader, Tag.sequence, "authority key identifier");
  const found =
    peekTag(reader) === contextPrimitiveTag(0)
      ? readContent(reader, contextPrimitiveTag(0), "key identifier")
      : undefined;
  while (hasMore(reader)) readElement(reader, -1, "authority's name");
  leave(reader, outer, "authority key identifier");
  return found;
}

/** One DistributionPoint: none when it covers some reasons only or another authority signs it. @see RFC 5280 §4.2.1.13 */
function readDistributionPoint(reader: DerReader): string[] {
  const outer = enter(reader, Tag.sequence, "distribution point");
  const urls = peekTag(reader) === contextTag(0) ? readDistributionPointName(reader) : [];
  const isPartial = hasMore(reader);
  while (hasMore(reader)) readElement(reader, -1, "reasons");
  leave(reader, outer, "distribution point");
  return isPartial ? [] : urls;
}

/** `[0] DistributionPointName`: the URIs of its full name. */
export function readDistributionPointName(reader: DerReader): string[] {
  const urls: string[] = [];
  const outer = enter(reader, contextTag(0), "distribution point's name");
  if (peekTag(reader) === contextTag(0)) {
    const outerFull = enter(reader, contextTag(0), "full name");
    while (hasMore(reader)) urls.push(...readUris(reader));
    leave(reader, outerFull, "full name");
  } else readElement(reader, -1, "relative name");
  leave(reader, outer, "distribution point's name");
  return urls;
}

/** One GeneralName: its text when it is a URI. */
function readUris(reader: DerReader): string[] {
  if (peekTag(reader) !== contextPrimitiveTag(6)) {
    readElement(reader, -1, "name");
    return [];
  }
  const content = readContent(reader, contextPrimitiveTag(6), "URI");
  const text = Buffer.from(content).toString("latin1");
  return /^[\x21-\x7e]{1,2048}$/.test(text) ? [text] : [];
}

/** The SHA-1 key identifier of RFC 5280 §4.2.1.2 (1), which is also an OCSP responder's key hash. Identifies; proves nothing. */
export function keyHash({ publicKey }: Pick<CertificateFields, "publicKey">): Buffer {
  return hash("sha1", publicKey, "buffer");
}
