import { randomBytes } from "node:crypto";
import { join } from "node:path";

import {
  authorityDays,
  backdatedMs,
  finishIssuingRenewal,
  formerIssuingName,
  nextIssuingName,
  type Authority,
} from "../authority.ts";
import { replacePrivateFile } from "../files.ts";
import { rememberDistrusted, renewRootCrl } from "../revocation/root-crl.ts";
import type { RootKey } from "./root-file.ts";

const dayMs = 86_400_000;

export interface RenewIssuingRequest {
  readonly pki: string;
  readonly authority: Authority;
  readonly root: RootKey;
  /** What the present issuing authority signed is good no more. */
  readonly distrustOld: boolean;
  readonly nowMs: number;
}

/**
 * Puts a new issuing authority in the place of the present one, whose certificate stays trusted until it ends, for the devices that
 * have certificates of it, unless told otherwise; its key stays for its CRL and OCSP answers. After a crash there is the old one or, at the next start, the new one.
 */
export async function renewIssuing(request: RenewIssuingRequest): Promise<void> {
  const { pki, authority, root, distrustOld, nowMs } = request;
  const { issueIntermediate } = await import("@postern/pki/issue");
  const rootKeyPem = root.key.export({ type: "pkcs8", format: "pem" }).toString();
  const issued = await issueIntermediate({
    commonName: `Postern issuing ${randomBytes(4).toString("hex")}`,
    validity: { notBeforeMs: nowMs - backdatedMs, notAfterMs: nowMs + authorityDays * dayMs },
    issuer: {
      certificate: root.certificatePem,
      key: rootKeyPem,
    },
  });
  if (distrustOld) rememberDistrusted(pki, authority, nowMs);
  else {
    const { issuing, issuer } = authority;
    // Whoever checks a certificate takes the list of revoked ones from its own authority only (RFC 5280 §6.3.3).
    replacePrivateFile(join(pki, formerIssuingName(issuing, "key")), issuer.key);
    replacePrivateFile(join(pki, formerIssuingName(issuing, "crt")), issuer.certificate);
  }
  // The root's key is here for this moment only.
  renewRootCrl(pki, authority, rootKeyPem, nowMs);
  replacePrivateFile(join(pki, nextIssuingName), issued.key + issued.certificate);
  finishIssuingRenewal(pki);
}
