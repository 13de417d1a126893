import { verify } from "node:crypto";

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
  readSmallInteger,
  skip,
  type Decoded,
  type DerReader,
} from "./der/reader.ts";
import { Tag, contextPrimitiveTag, contextTag } from "./der/tag.ts";
import { fromPem } from "./pem.ts";
import { decodePublicKey, keyRule, type KeyType, type PublicKey } from "./public-key.ts";

/** Why a request is refused, for programs; the sentence beside it is for people. */
export const CsrRefusal = {
  /** No PKCS #10 in DER or PEM. */
  malformed: "malformed",
  /** A key we do not certify: RSA, another curve, a weak one. */
  key: "key",
  /** Whoever asks has not proved that it has the private key. */
  signature: "signature",
  /** It asks to be an authority. */
  authority: "authority",
  /** It asks for a name that is not this device's. */
  name: "name",
  /** It asks for another use than that of a device. */
  usage: "usage",
  /** It has an attribute or extension we do not know. */
  attribute: "attribute",
  /** Its challenge password does not bind it to this connection. */
  channel: "channel",
  /** Its key is, or was, in use: by another device, or by this one before. */
  keyInUse: "key-in-use",
} as const;
export type CsrRefusal = (typeof CsrRefusal)[keyof typeof CsrRefusal];

export interface RefusedRequest {
  readonly kind: "refused";
  readonly reason: CsrRefusal;
  /** One phrase, after "it" or "its …": what was found, and what would be right. Quotes nothing of the request but names of identifiers. */
  readonly detail: string;
}

/** What a certification request asks for. Its signature was verified: whoever made it has the private key. */
export interface CertificateRequest {
  readonly publicKey: PublicKey;
  /** Common names of the subject; other parts of it are passed over, as names are ours to give. */
  readonly commonNames: readonly string[];
  /** URIs among the subject alternative names. */
  readonly uris: readonly string[];
  /** How many subject alternative names of other kinds there are. */
  readonly otherNames: number;
  /** It asks for CA:TRUE, or to sign certificates or revocation lists. */
  readonly authority: boolean;
  /** Extended key usages, as object identifiers. */
  readonly purposes: readonly string[];
  /** @see RFC 2985 §5.4.1, RFC 7030 §3.5 */
  readonly challengePassword: string | undefined;
}

/** A request is far smaller: P-384 with all names has 600 bytes. */
export const requestBytesMax = 8_192;

const commonNameOid = "2.5.4.3";
const challengePasswordOid = "1.2.840.113549.1.9.7";
const extensionRequestOid = "1.2.840.113549.1.9.14";

const keyUsageOid = "2.5.29.15";
const subjectKeyIdentifierOid = "2.5.29.14";
const subjectAltNameOid = "2.5.29.17";
const basicConstraintsOid = "2.5.29.19";
const extendedKeyUsageOid = "2.5.29.37";

/** keyCertSign and cRLSign. @see RFC 5280 §4.2.1.3 */
const signingUsages = (1 << 5) | (1 << 6);

/** A challenge password has at most so many characters. @see RFC 2985 Annex A */
const challengeCharactersMax = 255;

/** Which signature goes with which key, and its digest for node:crypto. @see RFC 5758 §3.2, RFC 8410 §3 */
const signatures: Readonly<
  Record<string, { readonly keys: readonly KeyType[]; readonly digest: string | null }>
> = {
  "1.2.840.10045.4.3.2": { keys: ["P-256", "P-384"], digest: "sha256" },
  "1.2.840.10045.4.3.3": { keys: ["P-256", "P-384"], digest: "sha384" },
  "1.2.840.10045.4.3.4": { keys: ["P-256", "P-384"], digest: "sha512" },
  "1.3.101.112": { keys: ["Ed25519"], digest: null },
};

export function refusedRequest(reason: CsrRefusal, detail: string): RefusedRequest {
  return { kind: "refused", reason, detail };
}

/** All that is in a request, as written, before anything is believed. */
interface RawRequest {
  commonNames: string[];
  uris: string[];
  otherNames: number;
  authority: boolean;
  purposes: string[];
  challengePassword: string | undefined;
  /** The first attribute or extension that we do not know. */
  unknown: string | undefined;
  spki: Uint8Array;
  /** What is signed. */
  signed: Uint8Array;
  algorithm: string;
  signature: Uint8Array;
}

/** Text of the kinds that are UTF-8 as they stand. */
function readText(reader: DerReader, field: string): string {
  const tag = peekTag(reader);
  if (tag !== Tag.utf8String && tag !== Tag.printableString && tag !== Tag.ia5String)
    fail(reader, `the ${field} is no UTF8String, PrintableString or IA5String`);
  const content = readContent(reader, tag, field);
  return Buffer.from(content).toString("utf8");
}

function readSubject(reader: DerReader, raw: RawRequest): void {
  const name = enter(reader, Tag.sequence, "subject");
  while (hasMore(reader)) {
    const set = enter(reader, Tag.set, "RelativeDistinguishedName");
    while (hasMore(reader)) {
      const pair = enter(reader, Tag.sequence, "AttributeTypeAndValue");
      if (readObjectIdentifier(reader, "attribute type") === commonNameOid)
        raw.commonNames.push(readText(reader, "common name"));
      else skip(reader, "attribute value");
      leave(reader, pair, "AttributeTypeAndValue");
    }
    leave(reader, set, "RelativeDistinguishedName");
  }
  leave(reader, name, "subject");
}

function readAlternativeNames(reader: DerReader, raw: RawRequest): void {
  const names = enter(reader, Tag.sequence, "subjectAltName");
  while (hasMore(reader)) {
    if (peekTag(reader) === contextPrimitiveTag(6)) {
      raw.uris.push(Buffer.from(readContent(reader, contextPrimitiveTag(6), "URI")).toString("latin1"));
    } else {
      skip(reader, "GeneralName");
      raw.otherNames += 1;
    }
  }
  leave(reader, names, "subjectAltName");
}

function readBasicConstraints(reader: DerReader, raw: RawRequest): void {
  const constraints = enter(reader, Tag.sequence, "basicConstraints");
  if (peekTag(reader) === Tag.boolean && readBoolean(reader, "cA")) raw.authority = true;
  if (hasMore(reader)) readSmallInteger(reader, "pathLenConstraint");
  leave(reader, constraints, "basicConstraints");
}

function readExtendedKeyUsage(reader: DerReader, raw: RawRequest): void {
  const usages = enter(reader, Tag.sequence, "extKeyUsage");
  while (hasMore(reader)) raw.purposes.push(readObjectIdentifier(reader, "KeyPurposeId"));
  leave(reader, usages, "extKeyUsage");
}

const extensionReaders: Readonly<Record<string, (reader: DerReader, raw: RawRequest) => void>> = {
  [subjectAltNameOid]: readAlternativeNames,
  [basicConstraintsOid]: readBasicConstraints,
  [extendedKeyUsageOid]: readExtendedKeyUsage,
  [keyUsageOid]: (reader, raw) => {
    if ((readNamedBits(reader, "keyUsage") & signingUsages) !== 0) raw.authority = true;
  },
  // Computed from the key, so whatever it says asks for nothing.
  [subjectKeyIdentifierOid]: (reader) => void readContent(reader, Tag.octetString, "subjectKeyIdentifier"),
};

function readExtensions(reader: DerReader, raw: RawRequest): void {
  const list = enter(reader, Tag.sequence, "Extensions");
  const seen = new Set<string>();
  while (hasMore(reader)) {
    const extension = enter(reader, Tag.sequence, "Extension");
    const oid = readObjectIdentifier(reader, "extnID");
    if (seen.has(oid)) fail(reader, `the extension ${oid} is there twice`);
    seen.add(oid);
    if (peekTag(reader) === Tag.boolean) readBoolean(reader, "critical");
    const read = extensionReaders[oid];
    if (read === undefined) {
      raw.unknown ??= `the extension ${oid}`;
      skip(reader, "extnValue");
    } else {
      const value = enter(reader, Tag.octetString, "extnValue");
      read(reader, raw);
      leave(reader, value, "extnValue");
    }
    leave(reader, extension, "Extension");
  }
  leave(reader, list, "Extensions");
}

function readChallengePassword(reader: DerReader, raw: RawRequest): void {
  raw.challengePassword = readText(reader, "challengePassword");
  if (raw.challengePassword.length > challengeCharactersMax)
    fail(reader, "the challengePassword is too long");
}

const attributeReaders: Readonly<Record<string, (reader: DerReader, raw: RawRequest) => void>> = {
  [extensionRequestOid]: readExtensions,
  [challengePasswordOid]: readChallengePassword,
};

function readAttributes(reader: DerReader, raw: RawRequest): void {
  // RFC 2986 has an empty set where there are none; some programs leave it out.
  if (!hasMore(reader)) return;
  const attributes = enter(reader, contextTag(0), "attributes");
  const seen = new Set<string>();
  while (hasMore(reader)) {
    const attribute = enter(reader, Tag.sequence, "Attribute");
    const oid = readObjectIdentifier(reader, "attribute type");
    if (seen.has(oid)) fail(reader, `the attribute ${oid} is there twice`);
    seen.add(oid);
    const values = enter(reader, Tag.set, "attribute values");
    const read = attributeReaders[oid];
    if (read === undefined) {
      raw.unknown ??= `the attribute ${oid}`;
      while (hasMore(reader)) skip(reader, "attribute value");
    } else {
      read(reader, raw);
    }
    leave(reader, values, "attribute values");
    leave(reader, attribute, "Attribute");
  }
  leave(reader, attributes, "attributes");
}

function readRequest(der: Uint8Array): Decoded<RawRequest> {
  const nothing = new Uint8Array(0);
  const raw: RawRequest = {
    commonNames: [],
    uris: [],
    otherNames: 0,
    authority: false,
    purposes: [],
    challengePassword: undefined,
    unknown: undefined,
    spki: nothing,
    signed: nothing,
    algorithm: "",
    signature: nothing,
  };
  const reader = createDerReader(der);
  const request = enter(reader, Tag.sequence, "CertificationRequest");
  const start = reader.offset;
  const info = enter(reader, Tag.sequence, "CertificationRequestInfo");
  if (readSmallInteger(reader, "version") !== 0) fail(reader, "the version is not 0");
  readSubject(reader, raw);
  raw.spki = readElement(reader, Tag.sequence, "subjectPKInfo");
  readAttributes(reader, raw);
  leave(reader, info, "CertificationRequestInfo");
  raw.signed = der.subarray(start, reader.offset);
  const algorithm = enter(reader, Tag.sequence, "signatureAlgorithm");
  raw.algorithm = readObjectIdentifier(reader, "signature algorithm");
  // RSA has NULL there, and is to be refused for its key.
  if (peekTag(reader) === Tag.null) skip(reader, "parameters");
  leave(reader, algorithm, "signatureAlgorithm");
  raw.signature = readBitString(reader, "signature");
  leave(reader, request, "CertificationRequest");
  return finish(reader, raw);
}

function isSigned({ algorithm, signed, signature }: RawRequest, { type, key }: PublicKey): boolean {
  const scheme = signatures[algorithm];
  if (scheme === undefined || !scheme.keys.includes(type)) return false;
  try {
    return verify(scheme.digest, signed, key, signature);
  } catch {
    return false;
  }
}

/** The DER in PEM or DER, or `undefined`. */
function toDer(input: Uint8Array | string): Uint8Array | undefined {
  if (typeof input !== "string" && input[0] === Tag.sequence) return input;
  const text = typeof input === "string" ? input : Buffer.from(input).toString("latin1");
  // Both labels are in use. @see RFC 7468 §7
  const found = [...fromPem("CERTIFICATE REQUEST", text), ...fromPem("NEW CERTIFICATE REQUEST", text)];
  return found.length === 1 ? found[0] : undefined;
}

/**
 * Reads a certification request, DER or PEM, and verifies that whoever made it has the private key. Whether what it asks for may be
 * granted is another question: see `judgeRequest`. Never throws, whatever the bytes. @see RFC 2986, RFC 5967
 */
export function decodeRequest(
  input: Uint8Array | string,
): { readonly kind: "request"; readonly request: CertificateRequest } | RefusedRequest {
  if (input.length > 2 * requestBytesMax)
    return refusedRequest(CsrRefusal.malformed, "it is too long for a certification request");
  const der = toDer(input);
  if (der === undefined)
    return refusedRequest(CsrRefusal.malformed, "it is neither DER nor one PEM block CERTIFICATE REQUEST");
  if (der.length > requestBytesMax)
    return refusedRequest(CsrRefusal.malformed, `it has more than ${requestBytesMax} bytes`);
  const decoded = readRequest(der);
  if (decoded.kind === "malformed")
    return refusedRequest(
      CsrRefusal.malformed,
      `it is no certification request (PKCS #10): ${decoded.reason}`,
    );
  const raw = decoded.value;
  const publicKey = decodePublicKey(raw.spki);
  if (publicKey === undefined) return refusedRequest(CsrRefusal.key, `its key is not ${keyRule}`);
  if (!isSigned(raw, publicKey)) {
    return refusedRequest(
      CsrRefusal.signature,
      "its signature was not made with the private key of the public key in it (or not with SHA-2)",
    );
  }
  if (raw.unknown !== undefined)
    return refusedRequest(CsrRefusal.attribute, `it has ${raw.unknown}, which is not granted to devices`);
  const { commonNames, uris, otherNames, authority, purposes, challengePassword } = raw;
  return {
    kind: "request",
    request: { publicKey, commonNames, uris, otherNames, authority, purposes, challengePassword },
  };
}
