import type { Certificate } from "@postern/pki/certificate";
import { z } from "zod";

import type { Authority } from "../authority.ts";
import type { CertificateAndKey } from "../server-certificate.ts";
import { hasRootKey } from "./root-file.ts";

const certificateView = z.object({
  subject: z.string(),
  serialNumber: z.string(),
  fingerprint: z.string(),
  notBefore: z.string(),
  notAfter: z.string(),
});

/** The authorities of an installation as they are shown. */
export const authorityViewSchema = z.object({
  root: certificateView,
  /** Whether the root's key is on this machine. */
  rootKeyHere: z.boolean(),
  issuing: certificateView,
  /** Replaced, and trusted until they end for the certificates they signed. */
  formerIssuing: z.array(certificateView),
  /** Absent while there is none. */
  server: certificateView.optional(),
});
export type AuthorityView = z.infer<typeof authorityViewSchema>;

function viewOf({ x509, serialNumber, fingerprint, notBeforeMs, notAfterMs }: Certificate) {
  return {
    subject: x509.subject.replaceAll("\n", ", "),
    serialNumber,
    fingerprint,
    notBefore: new Date(notBeforeMs).toISOString(),
    notAfter: new Date(notAfterMs).toISOString(),
  };
}

export function authorityView(
  pki: string,
  { root, issuing, issuers }: Authority,
  server: CertificateAndKey | undefined,
): AuthorityView {
  return {
    root: viewOf(root),
    rootKeyHere: hasRootKey(pki),
    issuing: viewOf(issuing),
    formerIssuing: issuers.slice(1).map(viewOf),
    server: server === undefined ? undefined : viewOf(server.certificate),
  };
}
