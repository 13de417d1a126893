import { join } from "node:path";

import { decodeCertificateFields } from "@postern/pki/certificate-fields";
import {
  Purpose,
  answersFor,
  decodeCertificate,
  verifyLeaf,
  type Certificate,
} from "@postern/pki/certificate";

import { backdatedMs, keyFits, type Authority } from "./authority.ts";
import { readSecretIfThere, replacePrivateFile } from "./files.ts";

const serverDays = 90;
const dayMs = 86_400_000;

export interface CertificateAndKey {
  readonly certificate: Certificate;
  /** PEM: the certificate and what else stands in the file. */
  readonly chain: string;
  /** PEM: a secret. */
  readonly key: string;
}

/** What a TLS listener shows; its chain has the issuing authority's certificate, too. */
export type ServerCertificate = CertificateAndKey;

export interface ServerCertificateRequest {
  /** The authority's directory. */
  readonly pki: string;
  readonly authority: Authority;
  /** Host names and addresses (IPv6 without brackets) that clients may use. */
  readonly hosts: readonly string[];
  /** Clients are to refuse it without a stapled OCSP answer. @see RFC 7633 */
  readonly mustStaple: boolean;
  readonly nowMs: number;
}

/** When two thirds of the validity are over it is time for a new certificate. Wall clock, ms. */
export function renewalDueMs({ notBeforeMs, notAfterMs }: Certificate): number {
  return notBeforeMs + ((notAfterMs - notBeforeMs) * 2) / 3;
}

/** One file for certificate and key: they change together or not at all. `undefined` when there is none, or none that can be used. */
export function loadCertificateAndKey(path: string): CertificateAndKey | undefined {
  const text = readSecretIfThere(path);
  if (text === undefined) return undefined;
  const [key] = text.match(/-----BEGIN PRIVATE KEY-----[^-]+-----END PRIVATE KEY-----\n/) ?? [];
  const certificate = decodeCertificate(text.slice(text.indexOf("-----BEGIN CERTIFICATE-----")));
  if (key === undefined || certificate === undefined || !keyFits(certificate, key)) return undefined;
  return { certificate, chain: text.replace(key, ""), key };
}

/** Whether it says of its status what is to be said now. */
function saysStatus(
  certificate: Certificate,
  { authority, mustStaple }: Pick<ServerCertificateRequest, "authority" | "mustStaple">,
): boolean {
  const fields = decodeCertificateFields(certificate.x509.raw);
  if (fields.kind === "malformed" || fields.value.mustStaple !== mustStaple) return false;
  const { crl, ocsp } = authority.issuer.urls ?? {};
  const [crlUrl] = fields.value.crlUrls;
  const [ocspUrl] = fields.value.ocspUrls;
  return crlUrl === crl && ocspUrl === ocsp;
}

function stillGood(
  { certificate }: ServerCertificate,
  { authority, hosts, mustStaple, nowMs }: ServerCertificateRequest,
): boolean {
  const verified = verifyLeaf({
    certificate,
    issuers: [authority.issuing],
    purpose: Purpose.serverAuth,
    nowMs,
  });
  const due = nowMs >= renewalDueMs(certificate);
  const isCurrent = saysStatus(certificate, { authority, mustStaple });
  return (
    verified.kind === "valid" && !due && isCurrent && hosts.every((host) => answersFor(certificate, host))
  );
}

/**
 * The server's certificate, a new one when there is none, when it is due for renewal, does not answer for one of `hosts` or
 * cannot be used.
 */
export async function obtainServerCertificate(
  request: ServerCertificateRequest,
): Promise<ServerCertificate & { readonly renewed: boolean }> {
  const path = join(request.pki, "server.pem");
  const present = loadCertificateAndKey(path);
  if (present !== undefined && stillGood(present, request)) return { ...present, renewed: false };

  const { authority, hosts, mustStaple, nowMs } = request;
  const { issueServer } = await import("@postern/pki/issue");
  const validity = { notBeforeMs: nowMs - backdatedMs, notAfterMs: nowMs + serverDays * dayMs };
  const issued = await issueServer({ hosts, validity, issuer: authority.issuer, mustStaple });
  replacePrivateFile(path, issued.key + issued.certificate + authority.issuer.certificate);
  const renewed = loadCertificateAndKey(path);
  if (renewed === undefined) throw new Error(`${path} cannot be read back`);
  return { ...renewed, renewed: true };
}
