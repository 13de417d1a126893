import { KeyUsage, type CertificateFields } from "../certificate-fields.ts";
import { importPublicKey, isSignedBy } from "../signature.ts";
import type { Crl } from "./decode.ts";

export interface CrlVerifyRequest {
  readonly crl: Crl;
  /** Of the certificates in question; itself verified. */
  readonly issuer: CertificateFields;
  /** Wall clock. */
  readonly nowMs: number;
}

export type CrlVerifyResult =
  /** `untilMs` is when a newer one is due (wall clock). */
  | { readonly kind: "valid"; readonly untilMs: number }
  | { readonly kind: "invalid"; readonly reason: string };

/** How far the clock of whoever signs may be ahead of ours. */
export const clockSkewMs = 300_000;

function iso(ms: number): string {
  return new Date(ms).toISOString();
}

/**
 * Whether a CRL is its issuer's own word on all reasons, and the current one. For which certificates it speaks is asked
 * with {@link crlCovers}. @see RFC 5280 §6.3.3
 */
export function verifyCrl({ crl, issuer, nowMs }: CrlVerifyRequest): CrlVerifyResult {
  const reason = reasonAgainst(crl, issuer, nowMs);
  if (reason !== undefined) return { kind: "invalid", reason };
  return { kind: "valid", untilMs: crl.nextUpdateMs ?? nowMs };
}

function reasonAgainst(crl: Crl, issuer: CertificateFields, nowMs: number): string | undefined {
  const { scope, nextUpdateMs, authorityKeyIdentifier } = crl;
  if (Buffer.compare(crl.issuer, issuer.subject) !== 0) return "it is another authority's";
  const otherKey =
    authorityKeyIdentifier !== undefined &&
    issuer.subjectKeyIdentifier !== undefined &&
    Buffer.compare(authorityKeyIdentifier, issuer.subjectKeyIdentifier) !== 0;
  if (otherKey) return "it was signed with another key of its authority";
  if (issuer.keyUsage !== undefined && (issuer.keyUsage & KeyUsage.cRLSign) === 0)
    return "its authority's certificate is not for signing CRLs";
  const [unknown] = crl.unknownCritical;
  if (unknown === "2.5.29.27") return "it lists changes only (a delta CRL)";
  if (unknown !== undefined) return `it has a critical extension that is not understood (${unknown})`;
  if (scope?.indirect === true) return "it speaks for several authorities (an indirect CRL)";
  if (scope?.onlySomeReasons === true) return "it covers some reasons only";
  if (scope?.onlyAttributeCertificates === true) return "it covers attribute certificates only";
  if (crl.thisUpdateMs > nowMs + clockSkewMs) return `it is from the future (${iso(crl.thisUpdateMs)})`;
  if (nextUpdateMs === undefined) return "it does not say until when it holds";
  if (nextUpdateMs <= nowMs) return `it is out of date since ${iso(nextUpdateMs)}`;
  const key = importPublicKey(issuer.publicKeyInfo);
  if (key === undefined || !isSignedBy(crl, key)) return "its signature is not its authority's";
  return undefined;
}

/**
 * Whether a CRL that is verified speaks for this certificate of its issuer: by its kind, and, where the CRL names URLs, by
 * one of those that the certificate names. @see RFC 5280 §6.3.3 (b) (2)
 */
export function crlCovers(
  { scope }: Pick<Crl, "scope">,
  certificate: Pick<CertificateFields, "authority" | "crlUrls">,
): boolean {
  if (scope === undefined) return true;
  if (certificate.authority ? scope.onlyUserCertificates : scope.onlyAuthorities) return false;
  const isNamed = scope.urls.length === 0 || certificate.crlUrls.length === 0;
  return isNamed || scope.urls.some((url) => certificate.crlUrls.includes(url));
}
