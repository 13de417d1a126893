import { ExtensionId } from "../certificate-fields.ts";
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
  readObjectIdentifier,
  readSmallInteger,
  readTime,
  type Decoded,
  type DerReader,
} from "../der/reader.ts";
import { Tag, contextPrimitiveTag, contextTag } from "../der/tag.ts";
import type { Signed } from "../signature.ts";
import { readCertId, type CertId } from "./cert-id.ts";
import { basicResponseType } from "./encode-response.ts";
import { readNonce, readTaggedExtensions, readVersion } from "./request.ts";

/** What a responder says about one certificate; nothing of it is verified. */
export interface SingleResponse {
  readonly certId: CertId;
  readonly status:
    | { readonly kind: "good" }
    | { readonly kind: "unknown" }
    | { readonly kind: "revoked"; readonly revokedAtMs: number; readonly reason: number };
  readonly thisUpdateMs: number;
  /** `undefined` when it does not say. */
  readonly nextUpdateMs: number | undefined;
}

/** @see RFC 6960 §4.2.1 */
export interface BasicOcspResponse extends Signed {
  /** By name (DER) or by the SHA-1 of its key. */
  readonly responder:
    | { readonly kind: "name"; readonly name: Uint8Array }
    | { readonly kind: "key"; readonly keyHash: Uint8Array };
  readonly producedAtMs: number;
  readonly responses: readonly SingleResponse[];
  readonly nonce: Uint8Array | undefined;
  /** DER, as the responder sent them. */
  readonly certificates: readonly Uint8Array[];
}

export type OcspResponse =
  /** `status` as in RFC 6960 §4.2.1: 1 malformedRequest, 2 internalError, 3 tryLater, 5 sigRequired, 6 unauthorized. */
  | { readonly kind: "failure"; readonly status: number }
  | { readonly kind: "basic"; readonly basic: BasicOcspResponse };

const responsesMax = 64;
const certificatesMax = 8;

/** Reads a response from DER. */
export function decodeOcspResponse(bytes: Uint8Array): Decoded<OcspResponse> {
  const reader = createDerReader(bytes);
  const outer = enter(reader, Tag.sequence, "OCSP response");
  const status = readSmallInteger(reader, "response status", Tag.enumerated);
  if (status !== 0) {
    leave(reader, outer, "OCSP response");
    return finish<OcspResponse>(reader, { kind: "failure", status });
  }
  const outerTagged = enter(reader, contextTag(0), "response bytes");
  const outerBytes = enter(reader, Tag.sequence, "response bytes");
  if (readObjectIdentifier(reader, "response type") !== basicResponseType)
    fail(reader, "it is of another type than the basic one");
  const content = readContent(reader, Tag.octetString, "basic response");
  leave(reader, outerBytes, "response bytes");
  leave(reader, outerTagged, "response bytes");
  leave(reader, outer, "OCSP response");
  if (reader.failure !== undefined) return { kind: "malformed", reason: reader.failure };
  const basic = createDerReader(content);
  return finish<OcspResponse>(basic, { kind: "basic", basic: readBasic(basic) });
}

function readBasic(reader: DerReader): BasicOcspResponse {
  const outermost = enter(reader, Tag.sequence, "basic response");
  const signed = readElement({ ...reader }, Tag.sequence, "response data");
  const outer = enter(reader, Tag.sequence, "response data");
  readVersion(reader);
  const responder = readResponder(reader);
  const producedAtMs = readTime(reader, "time of production", "generalized");
  const responses: SingleResponse[] = [];
  const outerList = enter(reader, Tag.sequence, "responses");
  while (hasMore(reader)) {
    responses.push(readSingle(reader));
    if (responses.length > responsesMax) fail(reader, `it has more than ${responsesMax} responses`);
  }
  leave(reader, outerList, "responses");
  let nonce: Uint8Array | undefined;
  if (peekTag(reader) === contextTag(1)) {
    readTaggedExtensions(reader, 1, (oid, value) => {
      if (oid !== ExtensionId.ocspNonce) return false;
      nonce = readNonce(value);
      return true;
    });
  }
  leave(reader, outer, "response data");
  const algorithm = readElement(reader, Tag.sequence, "signature algorithm");
  const signature = readBitString(reader, "signature");
  const certificates = peekTag(reader) === contextTag(0) ? readCertificates(reader) : [];
  leave(reader, outermost, "basic response");
  return { responder, producedAtMs, responses, nonce, certificates, signed, algorithm, signature };
}

function readCertificates(reader: DerReader): Uint8Array[] {
  const certificates: Uint8Array[] = [];
  const outer = enter(reader, contextTag(0), "certificates");
  const outerList = enter(reader, Tag.sequence, "certificates");
  while (hasMore(reader)) {
    certificates.push(readElement(reader, Tag.sequence, "certificate"));
    if (certificates.length > certificatesMax)
      fail(reader, `it has more than ${certificatesMax} certificates`);
  }
  leave(reader, outerList, "certificates");
  leave(reader, outer, "certificates");
  return certificates;
}

function readResponder(reader: DerReader): BasicOcspResponse["responder"] {
  const isName = peekTag(reader) === contextTag(1);
  const outer = enter(reader, contextTag(isName ? 1 : 2), "responder");
  const responder = isName
    ? ({ kind: "name", name: readElement(reader, Tag.sequence, "responder's name") } as const)
    : ({
        kind: "key",
        keyHash: readContent(reader, Tag.octetString, "hash of the responder's key"),
      } as const);
  leave(reader, outer, "responder");
  return responder;
}

function readSingle(reader: DerReader): SingleResponse {
  const outer = enter(reader, Tag.sequence, "response");
  const certId = readCertId(reader);
  const status = readStatus(reader);
  const thisUpdateMs = readTime(reader, "time of this update", "generalized");
  let nextUpdateMs: number | undefined;
  if (peekTag(reader) === contextTag(0)) {
    const outerNext = enter(reader, contextTag(0), "time of the next update");
    nextUpdateMs = readTime(reader, "time of the next update", "generalized");
    leave(reader, outerNext, "time of the next update");
  }
  if (peekTag(reader) === contextTag(1)) readTaggedExtensions(reader, 1, () => false);
  leave(reader, outer, "response");
  return { certId, status, thisUpdateMs, nextUpdateMs };
}

function readStatus(reader: DerReader): SingleResponse["status"] {
  switch (peekTag(reader)) {
    case contextPrimitiveTag(0):
      if (readContent(reader, contextPrimitiveTag(0), "status").length > 0)
        fail(reader, "a status with a content");
      return { kind: "good" };
    case contextTag(1): {
      const outer = enter(reader, contextTag(1), "status");
      const revokedAtMs = readTime(reader, "time of revocation", "generalized");
      let reason = 0;
      if (hasMore(reader)) {
        const outerReason = enter(reader, contextTag(0), "reason");
        reason = readSmallInteger(reader, "reason", Tag.enumerated);
        leave(reader, outerReason, "reason");
      }
      leave(reader, outer, "status");
      return { kind: "revoked", revokedAtMs, reason };
    }
    default:
      if (readContent(reader, contextPrimitiveTag(2), "status").length > 0)
        fail(reader, "a status with a content");
      return { kind: "unknown" };
  }
}
