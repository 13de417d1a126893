import { decodeCertificateFields } from "@postern/pki/certificate-fields";
import { Purpose, verifyLeaf } from "@postern/pki/certificate";
import { OcspSigner } from "@postern/pki/ocsp/encode-response";

import { backdatedMs, type IssuingAuthority } from "../authority.ts";
import { replacePrivateFile } from "../files.ts";
import { loadCertificateAndKey, type CertificateAndKey } from "../server-certificate.ts";

const dayMs = 86_400_000;
/** A key answers for so long; then there is a new one. */
const rotationDays = 30;
/** What it answered last is good for an hour, and clocks differ. */
const validDays = 37;

function stillGood({ certificate }: CertificateAndKey, authority: IssuingAuthority, nowMs: number): boolean {
  const verified = verifyLeaf({
    certificate,
    issuers: [authority.certificate],
    purpose: Purpose.ocspSigning,
    nowMs,
  });
  return verified.kind === "valid" && nowMs < certificate.notBeforeMs + backdatedMs + rotationDays * dayMs;
}

function signerOf({ certificate, key }: CertificateAndKey): OcspSigner {
  const { raw } = certificate.x509;
  const fields = decodeCertificateFields(raw);
  if (fields.kind === "malformed") throw new Error(`a certificate of ours cannot be read: ${fields.reason}`);
  return new OcspSigner({ certificate: raw, fields: fields.value, key });
}

/**
 * Who answers OCSP requests for an issuing authority: a key of its own, in the file `path`, with a certificate from that
 * authority; new ones when there are none, after 30 days, and when the authority is another.
 */
export async function obtainOcspSigner(
  path: string,
  authority: IssuingAuthority,
  nowMs: number,
): Promise<OcspSigner> {
  const present = loadCertificateAndKey(path);
  if (present !== undefined && stillGood(present, authority, nowMs)) return signerOf(present);
  const { issueOcspResponder } = await import("@postern/pki/issue");
  const validity = { notBeforeMs: nowMs - backdatedMs, notAfterMs: nowMs + validDays * dayMs };
  const issued = await issueOcspResponder({ validity, issuer: authority.issuer });
  replacePrivateFile(path, issued.key + issued.certificate);
  const renewed = loadCertificateAndKey(path);
  if (renewed === undefined) throw new Error(`${path} cannot be read back`);
  return signerOf(renewed);
}
