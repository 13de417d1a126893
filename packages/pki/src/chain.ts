import type { KeyObject } from "node:crypto";

import { decodeCertificateFields, KeyUsage, type CertificateFields } from "./certificate-fields.ts";
import type { Certificate, Purpose } from "./certificate.ts";
import { importPublicKey, isSignedBy } from "./signature.ts";

export interface ChainRequest {
  readonly leaf: Certificate;
  /** What the peer sent beside it, in any order; nothing of it is believed. */
  readonly intermediates: readonly Certificate[];
  readonly anchors: readonly Certificate[];
  readonly purpose: Purpose;
  /** Wall clock. */
  readonly nowMs: number;
}

export type ChainResult =
  | {
      readonly kind: "valid";
      readonly anchor: Certificate;
      /** From the leaf to the anchor, both included. */
      readonly path: readonly Certificate[];
      /** Wall clock (ms) at which the first of them ends. */
      readonly untilMs: number;
    }
  | { readonly kind: "invalid"; readonly reason: string };

/** From leaf to anchor, both included. Real paths have three or four. */
export const pathCertificatesMax = 6;
/** Certificates of a peer beyond these are not looked at. */
const intermediatesMax = 8;
/** Signatures checked before giving up: many authorities of one name would otherwise make for many paths. */
export const signatureChecksMax = 32;

const anyPurpose = "2.5.29.37.0";
const rsaBitsMin = 2_048;

interface Node {
  readonly certificate: Certificate;
  readonly fields: CertificateFields;
  /** Not node:crypto's `publicKey` of the certificate, which throws for a key that is none. */
  readonly key: KeyObject;
  readonly isAnchor: boolean;
}

/** One search for a path. */
interface Search {
  readonly candidates: readonly Node[];
  readonly request: ChainRequest;
  signatureChecks: number;
  /** Why the path that came farthest is none. */
  reason: string;
}

function nodeOf(certificate: Certificate, isAnchor: boolean): Node | undefined {
  const decoded = decodeCertificateFields(certificate.x509.raw);
  if (decoded.kind === "malformed") return undefined;
  const key = importPublicKey(decoded.value.publicKeyInfo);
  return key === undefined ? undefined : { certificate, fields: decoded.value, key, isAnchor };
}

/**
 * Looks for a path from the leaf to one of the anchors in which every signature, validity, path length and purpose is right.
 * A leaf without extended key usage is good for every purpose. The anchors' own validity counts; critical extensions that
 * are not understood (name constraints among them) forbid a path.
 * @see RFC 5280 §6.1
 */
export function verifyChain(request: ChainRequest): ChainResult {
  const { leaf, intermediates, anchors, purpose } = request;
  const node = nodeOf(leaf, false);
  if (node === undefined) return { kind: "invalid", reason: "it cannot be read" };
  const reason = reasonAgainst(node, request) ?? reasonAgainstLeaf(node.fields, purpose);
  if (reason !== undefined) return { kind: "invalid", reason };
  const candidates = [
    ...anchors.map((anchor) => nodeOf(anchor, true)),
    ...intermediates.slice(0, intermediatesMax).map((intermediate) => nodeOf(intermediate, false)),
  ].filter((found) => found !== undefined);
  const search: Search = {
    candidates,
    request,
    signatureChecks: 0,
    reason: "it was not issued by an authority that is trusted here",
  };
  const path = findPath(search, [node]);
  const anchor = path?.at(-1);
  if (path === undefined || anchor === undefined) return { kind: "invalid", reason: search.reason };
  return {
    kind: "valid",
    anchor: anchor.certificate,
    path: path.map(({ certificate }) => certificate),
    untilMs: Math.min(...path.map(({ fields }) => fields.notAfterMs)),
  };
}

function reasonAgainstLeaf(fields: CertificateFields, purpose: Purpose): string | undefined {
  if (fields.authority) return "it is a certificate authority's";
  if (fields.keyUsage !== undefined && (fields.keyUsage & KeyUsage.digitalSignature) === 0)
    return "its key usage does not include digital signatures";
  if (fields.purposes === undefined || fields.purposes.includes(purpose)) return undefined;
  return `its extended key usage is [${fields.purposes.join(", ")}] without ${purpose}`;
}

/** What holds for every certificate of a path. */
function reasonAgainst({ fields, key }: Node, { nowMs }: ChainRequest): string | undefined {
  const { notBeforeMs, notAfterMs, unknownCritical } = fields;
  if (nowMs < notBeforeMs) return `it is valid only from ${new Date(notBeforeMs).toISOString()}`;
  if (nowMs > notAfterMs) return `it expired at ${new Date(notAfterMs).toISOString()}`;
  if (unknownCritical.length > 0)
    return `it has a critical extension that is not understood (${unknownCritical.join(", ")})`;
  const { modulusLength } = key.asymmetricKeyDetails ?? {};
  return modulusLength !== undefined && modulusLength < rsaBitsMin
    ? `its RSA key has ${modulusLength} bits, less than ${rsaBitsMin}`
    : undefined;
}

/** Depth first; depth and work are bounded. @returns the path with its anchor, or `undefined`. */
function findPath(search: Search, path: readonly Node[]): readonly Node[] | undefined {
  const last = path.at(-1);
  if (last === undefined || last.isAnchor) return path;
  if (path.length === pathCertificatesMax) return undefined;
  for (const candidate of search.candidates) {
    if (Buffer.compare(last.fields.issuer, candidate.fields.subject) !== 0) continue;
    if (path.some(({ certificate }) => certificate.fingerprint === candidate.certificate.fingerprint))
      continue;
    const reason = reasonAgainstIssuer(search, path, candidate);
    if (reason !== undefined) {
      search.reason = `the certificate of its authority is refused: ${reason}`;
      continue;
    }
    if (search.signatureChecks === signatureChecksMax) return undefined;
    search.signatureChecks += 1;
    if (!isSignedBy(last.fields, candidate.key)) continue;
    const found = findPath(search, [...path, candidate]);
    if (found !== undefined) return found;
  }
  return undefined;
}

function reasonAgainstIssuer(search: Search, path: readonly Node[], node: Node): string | undefined {
  const { fields } = node;
  const { purpose } = search.request;
  if (!fields.authority) return "it is no authority's";
  if (fields.keyUsage !== undefined && (fields.keyUsage & KeyUsage.keyCertSign) === 0)
    return "it is not for signing certificates";
  // Authorities below this one, of which those that a renamed key signed for itself do not count. @see RFC 5280 §6.1.4 (l)
  const below = path
    .slice(1)
    .filter((above) => Buffer.compare(above.fields.issuer, above.fields.subject) !== 0).length;
  if (fields.pathLength !== undefined && below > fields.pathLength)
    return `it allows ${fields.pathLength} authorities below it`;
  const { purposes } = fields;
  if (purposes !== undefined && !purposes.includes(purpose) && !purposes.includes(anyPurpose))
    return `its extended key usage does not include ${purpose}`;
  return reasonAgainst(node, search.request);
}
