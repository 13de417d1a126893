import { Purpose } from "../certificate.ts";
import { decodeCertificateFields, keyHash, type CertificateFields } from "../certificate-fields.ts";
import { clockSkewMs } from "../crl/verify.ts";
import { revocationReasonName } from "../revocation.ts";
import { importPublicKey, isSignedBy } from "../signature.ts";
import { isIssuedBy } from "./cert-id.ts";
import { decodeOcspResponse, type BasicOcspResponse, type SingleResponse } from "./decode-response.ts";

export interface OcspVerifyRequest {
  /** The answer (DER). */
  readonly response: Uint8Array;
  /** The certificate asked about: hexadecimal of whole bytes. */
  readonly serialNumber: string;
  /** Its issuer, itself verified. */
  readonly issuer: CertificateFields;
  /** What was sent in the question, if anything. */
  readonly nonce: Uint8Array | undefined;
  /** Refuse an answer without nonce; otherwise only one with another nonce is. Responders with prepared answers have none. */
  readonly nonceRequired: boolean;
  /** Wall clock. */
  readonly nowMs: number;
}

export type OcspVerifyResult =
  /** `untilMs`: until when it may be believed (wall clock). */
  | { readonly kind: "good"; readonly untilMs: number }
  | {
      readonly kind: "revoked";
      readonly untilMs: number;
      readonly revokedAtMs: number;
      readonly reason: string;
    }
  | { readonly kind: "unknown"; readonly untilMs: number }
  | { readonly kind: "invalid"; readonly reason: string };

const failures: Readonly<Record<number, string>> = {
  1: "malformed request",
  2: "internal error",
  3: "try later",
  5: "the request must be signed",
  6: "unauthorized",
};

function iso(ms: number): string {
  return new Date(ms).toISOString();
}

function invalid(reason: string): OcspVerifyResult {
  return { kind: "invalid", reason };
}

/**
 * What an OCSP answer says about one certificate, once it is clear that it is about this certificate of this issuer, that
 * the issuer itself or a responder with its mandate signed it, that it is current, and that it answers our question.
 * @see RFC 6960 §3.2, RFC 5019 §2.2.2, §4, RFC 9654
 */
export function verifyOcspResponse(request: OcspVerifyRequest): OcspVerifyResult {
  const { response, issuer, serialNumber, nonce, nonceRequired, nowMs } = request;
  const decoded = decodeOcspResponse(response);
  if (decoded.kind === "malformed") return invalid(`it cannot be read: ${decoded.reason}`);
  if (decoded.value.kind === "failure") {
    const { status } = decoded.value;
    return invalid(`the responder has no answer (${failures[status] ?? `status ${status}`})`);
  }
  const { basic } = decoded.value;
  const single = basic.responses.find(
    ({ certId }) => isIssuedBy(certId, issuer) && sameNumber(certId.serialNumber, serialNumber),
  );
  if (single === undefined) return invalid("it is about another certificate");
  const against =
    reasonAgainstSigner(basic, issuer, nowMs) ??
    reasonAgainstNonce(basic, nonce, nonceRequired) ??
    reasonAgainstTimes(single, nowMs);
  if (against !== undefined) return invalid(against);
  return verdict(single, nowMs);
}

function sameNumber(one: string, other: string): boolean {
  return one === other.toUpperCase().replace(/^(00)+(?=..)/, "");
}

function verdict({ status, nextUpdateMs }: SingleResponse, nowMs: number): OcspVerifyResult {
  const untilMs = nextUpdateMs ?? nowMs;
  switch (status.kind) {
    case "good":
    case "unknown":
      return { kind: status.kind, untilMs };
    case "revoked":
      return {
        kind: "revoked",
        untilMs,
        revokedAtMs: status.revokedAtMs,
        reason: revocationReasonName(status.reason),
      };
  }
}

function reasonAgainstNonce(
  { nonce }: BasicOcspResponse,
  sent: Uint8Array | undefined,
  required: boolean,
): string | undefined {
  if (sent === undefined) return undefined;
  if (nonce === undefined) return required ? "it has no nonce, so it may be an old one" : undefined;
  return Buffer.compare(nonce, sent) === 0 ? undefined : "its nonce is another than ours: it was replayed";
}

function reasonAgainstTimes(
  { thisUpdateMs, nextUpdateMs }: SingleResponse,
  nowMs: number,
): string | undefined {
  if (thisUpdateMs > nowMs + clockSkewMs) return `it is from the future (${iso(thisUpdateMs)})`;
  // Without it newer information is there at all times, so this is old already. @see RFC 5019 §2.2.4
  if (nextUpdateMs === undefined) return "it does not say until when it holds";
  return nextUpdateMs <= nowMs ? `it is out of date since ${iso(nextUpdateMs)}` : undefined;
}

function names(basic: BasicOcspResponse, candidate: CertificateFields): boolean {
  const { responder } = basic;
  return responder.kind === "name"
    ? Buffer.compare(responder.name, candidate.subject) === 0
    : Buffer.compare(responder.keyHash, keyHash(candidate)) === 0;
}

function reasonAgainstSigner(
  basic: BasicOcspResponse,
  issuer: CertificateFields,
  nowMs: number,
): string | undefined {
  const issuerKey = importPublicKey(issuer.publicKeyInfo);
  if (issuerKey === undefined) return "the key of its authority cannot be read";
  if (names(basic, issuer))
    return isSignedBy(basic, issuerKey) ? undefined : "its signature is not its authority's";
  for (const der of basic.certificates) {
    const decoded = decodeCertificateFields(der);
    if (decoded.kind === "malformed" || !names(basic, decoded.value)) continue;
    const responder = decoded.value;
    const mandated =
      Buffer.compare(responder.issuer, issuer.subject) === 0 && isSignedBy(responder, issuerKey);
    if (!mandated) return "its responder's certificate is not from the authority it answers for";
    if (responder.purposes?.includes(Purpose.ocspSigning) !== true)
      return "its responder's certificate is not for signing OCSP answers";
    if (responder.unknownCritical.length > 0)
      return "its responder's certificate has a critical extension that is not understood";
    if (nowMs < responder.notBeforeMs - clockSkewMs || nowMs > responder.notAfterMs)
      return "its responder's certificate is not valid at this time";
    const key = importPublicKey(responder.publicKeyInfo);
    return key !== undefined && isSignedBy(basic, key) ? undefined : "its signature is not its responder's";
  }
  return "the certificate of its responder is not there";
}
