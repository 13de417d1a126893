import { X509Certificate } from "node:crypto";
import { isIP } from "node:net";

import { parseDeviceUri, type DeviceUri } from "./device-uri.ts";

/** What a certificate is good for. Ours have exactly one purpose. @see RFC 5280 §4.2.1.12 */
export const Purpose = {
  serverAuth: "1.3.6.1.5.5.7.3.1",
  clientAuth: "1.3.6.1.5.5.7.3.2",
  ocspSigning: "1.3.6.1.5.5.7.3.9",
} as const;
export type Purpose = (typeof Purpose)[keyof typeof Purpose];

/** A certificate read from bytes or text, with the fields that we decide by. */
export interface Certificate {
  /** As node:crypto reads it, for signatures. */
  readonly x509: X509Certificate;
  /** Upper-case hexadecimal. */
  readonly serialNumber: string;
  /** SHA-256 over the DER, upper-case hexadecimal pairs with colons. */
  readonly fingerprint: string;
  readonly notBeforeMs: number;
  readonly notAfterMs: number;
  readonly authority: boolean;
  /** Extended key usages, as object identifiers; empty when the certificate names none. */
  readonly purposes: readonly string[];
}

/**
 * Reads a certificate, DER or PEM (of several, the first).
 * @returns `undefined` when it is none.
 */
export function decodeCertificate(bytes: Uint8Array | string): Certificate | undefined {
  let x509: X509Certificate;
  try {
    x509 = new X509Certificate(bytes);
  } catch {
    return undefined;
  }
  return {
    x509,
    serialNumber: x509.serialNumber,
    fingerprint: x509.fingerprint256,
    notBeforeMs: x509.validFromDate.getTime(),
    notAfterMs: x509.validToDate.getTime(),
    authority: x509.ca,
    purposes: x509.keyUsage ?? [],
  };
}

/** The single certificates of a PEM chain, in its order. */
export function splitPem(chain: string): string[] {
  return chain.match(/-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g) ?? [];
}

/** The device that a certificate names, or `undefined` when it names none or several. */
export function deviceOf(certificate: Certificate): DeviceUri | undefined {
  const names = certificate.x509.subjectAltName;
  // Node quotes a name that holds a comma, a quote or a control character, one that wants to look like another: ours never do.
  if (names === undefined || names.includes('"')) return undefined;
  const [uri, ...more] = names.split(", ").filter((name) => name.startsWith("URI:"));
  return uri === undefined || more.length > 0 ? undefined : parseDeviceUri(uri.slice("URI:".length));
}

/** Whether a server certificate answers for `host`, a name or an IP address (IPv6 without brackets). @see RFC 9525 §6 */
export function answersFor(certificate: Certificate, host: string): boolean {
  const { x509 } = certificate;
  return (isIP(host) === 0 ? x509.checkHost(host, { subject: "never" }) : x509.checkIP(host)) !== undefined;
}

export interface VerifyRequest {
  readonly certificate: Certificate;
  /** The authorities that may have signed it, themselves verified when they were loaded. */
  readonly issuers: readonly Certificate[];
  readonly purpose: Purpose;
  /** Wall clock. */
  readonly nowMs: number;
}

/** `until` is the wall clock (ms) at which a `valid` answer stops being true. */
export type VerifyResult =
  | { readonly kind: "valid"; readonly untilMs: number }
  | { readonly kind: "invalid"; readonly reason: string };

function invalid(reason: string): VerifyResult {
  return { kind: "invalid", reason };
}

/**
 * Whether a leaf certificate is signed by one of `issuers`, is within its validity (and its issuer's), is no authority and
 * is meant for exactly `purpose`. Nothing that TLS said is taken into account. @see RFC 5280 §6.1
 */
export function verifyLeaf({ certificate, issuers, purpose, nowMs }: VerifyRequest): VerifyResult {
  const issuer = issuers.find(
    (candidate) =>
      certificate.x509.checkIssued(candidate.x509) && certificate.x509.verify(candidate.x509.publicKey),
  );
  if (issuer === undefined) return invalid("it was not issued by our certificate authority");
  if (certificate.authority) return invalid("it is a certificate authority's");
  if (certificate.purposes.length !== 1 || certificate.purposes[0] !== purpose) {
    return invalid(`its extended key usage is [${certificate.purposes.join(", ")}] instead of ${purpose}`);
  }
  for (const { notBeforeMs, notAfterMs } of [certificate, issuer]) {
    if (nowMs < notBeforeMs) return invalid(`it is valid only from ${new Date(notBeforeMs).toISOString()}`);
    if (nowMs > notAfterMs) return invalid(`it expired at ${new Date(notAfterMs).toISOString()}`);
  }
  return { kind: "valid", untilMs: Math.min(certificate.notAfterMs, issuer.notAfterMs) };
}

/** When two thirds of the validity are over it is time for a new certificate. Wall clock, ms. */
export function renewalDueMs({ notBeforeMs, notAfterMs }: Certificate): number {
  return notBeforeMs + ((notAfterMs - notBeforeMs) * 2) / 3;
}
