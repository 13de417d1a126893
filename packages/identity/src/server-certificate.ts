import { join } from "node:path";

import { decodeCertificateFields } from "@postern/pki/certificate-fields";
import {
  Purpose,
  answersFor,
  decodeCertificate,
  renewalDueMs,
  splitPem,
  verifyLeaf,
  type Certificate,
} from "@postern/pki/certificate";

import { backdatedMs, keyFits, type Authority } from "./authority.ts";
import { PkiFileError } from "./errors.ts";
import { readSecretIfThere, readTextIfThere, replacePrivateFile } from "./files.ts";

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

/** Files of a server certificate that another authority issued. */
export interface GivenCertificateFiles {
  /** PEM: the certificate, and those between it and the root. */
  readonly certificate: string;
  readonly key: string;
  /** PEM: the authority that devices trust for this server. */
  readonly ca: string;
}

/** Such a certificate, and whom its devices trust. */
export interface GivenCertificate extends CertificateAndKey {
  /** PEM. */
  readonly ca: string;
}

function readGiven(path: string): string {
  const text = readTextIfThere(path);
  if (text === undefined) throw new PkiFileError(`${path}, which the configuration names, is missing`);
  return text;
}

/**
 * Reads a server certificate that another authority issued; whoever issues it also renews it.
 * @throws {PkiFileError} for files that are missing, damaged, open to others, or do not belong together.
 */
export function loadGivenCertificate(files: GivenCertificateFiles, nowMs: number): GivenCertificate {
  const chain = readGiven(files.certificate);
  const certificate = decodeCertificate(chain);
  const ca = readGiven(files.ca);
  const authority = decodeCertificate(ca);
  if (certificate === undefined) throw new PkiFileError(`${files.certificate} holds no certificate (PEM)`);
  if (authority?.authority !== true)
    throw new PkiFileError(`${files.ca} holds no certificate of an authority (PEM)`);
  const key = readSecretIfThere(files.key) ?? readGiven(files.key);
  if (!keyFits(certificate, key))
    throw new PkiFileError(
      `${files.key} is not the key of the certificate in ${files.certificate}, or has a passphrase`,
    );
  const links = splitPem(chain)
    .slice(1)
    .flatMap((pem) => decodeCertificate(pem) ?? []);
  if (!leadsTo(certificate, [...links, authority], authority))
    throw new PkiFileError(
      `the certificate in ${files.certificate} does not lead to the authority in ${files.ca}: put the certificates between them into the same file, after the server's own`,
    );
  if (nowMs > certificate.notAfterMs)
    throw new PkiFileError(
      `the certificate in ${files.certificate} expired at ${new Date(certificate.notAfterMs).toISOString()}`,
    );
  return { certificate, chain, key, ca };
}

/** Whether a path of signatures leads from `certificate` over some of `links` to `authority`. */
function leadsTo(certificate: Certificate, links: readonly Certificate[], authority: Certificate): boolean {
  let current = certificate;
  for (let step = 0; step <= links.length; step += 1) {
    if (current.fingerprint === authority.fingerprint) return true;
    const { x509 } = current;
    const issuer = links.find((link) => x509.checkIssued(link.x509) && x509.verify(link.x509.publicKey));
    if (issuer === undefined) return false;
    current = issuer;
  }
  return false;
}
