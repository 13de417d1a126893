import { join } from "node:path";

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

/** What a TLS listener shows. */
export interface ServerCertificate {
  readonly certificate: Certificate;
  /** PEM: the server's certificate and the issuing authority's. */
  readonly chain: string;
  /** PEM: a secret. */
  readonly key: string;
}

export interface ServerCertificateRequest {
  /** The authority's directory. */
  readonly pki: string;
  readonly authority: Authority;
  /** Host names and addresses (IPv6 without brackets) that clients may use. */
  readonly hosts: readonly string[];
  readonly nowMs: number;
}

/** When two thirds of the validity are over it is time for a new certificate. Wall clock, ms. */
export function renewalDueMs({ notBeforeMs, notAfterMs }: Certificate): number {
  return notBeforeMs + ((notAfterMs - notBeforeMs) * 2) / 3;
}

function load(path: string): ServerCertificate | undefined {
  const text = readSecretIfThere(path);
  if (text === undefined) return undefined;
  const [key] = text.match(/-----BEGIN PRIVATE KEY-----[^-]+-----END PRIVATE KEY-----\n/) ?? [];
  const certificate = decodeCertificate(text.slice(text.indexOf("-----BEGIN CERTIFICATE-----")));
  if (key === undefined || certificate === undefined || !keyFits(certificate, key)) return undefined;
  return { certificate, chain: text.replace(key, ""), key };
}

function stillGood(
  { certificate }: ServerCertificate,
  { authority, hosts, nowMs }: ServerCertificateRequest,
): boolean {
  const verified = verifyLeaf({
    certificate,
    issuers: [authority.issuing],
    purpose: Purpose.serverAuth,
    nowMs,
  });
  const due = nowMs >= renewalDueMs(certificate);
  return verified.kind === "valid" && !due && hosts.every((host) => answersFor(certificate, host));
}

/**
 * The server's certificate, a new one when there is none, when it is due for renewal, does not answer for one of `hosts` or
 * cannot be used.
 */
export async function obtainServerCertificate(
  request: ServerCertificateRequest,
): Promise<ServerCertificate & { readonly renewed: boolean }> {
  // One file for certificate and key: they change together or not at all.
  const path = join(request.pki, "server.pem");
  const present = load(path);
  if (present !== undefined && stillGood(present, request)) return { ...present, renewed: false };

  const { authority, hosts, nowMs } = request;
  const { issueServer } = await import("@postern/pki/issue");
  const validity = { notBeforeMs: nowMs - backdatedMs, notAfterMs: nowMs + serverDays * dayMs };
  const issued = await issueServer({ hosts, validity, issuer: authority.issuer });
  replacePrivateFile(path, issued.key + issued.certificate + authority.issuer.certificate);
  const renewed = load(path);
  if (renewed === undefined) throw new Error(`${path} cannot be read back`);
  return { ...renewed, renewed: true };
}
