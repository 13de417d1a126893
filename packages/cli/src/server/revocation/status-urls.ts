import type { StatusUrls } from "@postern/pki/issue";

import type { RevocationConfiguration } from "../../config/revocation.ts";

/** Where the issuing authority's CRL is, below the base URL. */
export const crlPath = "/crl/issuing.crl";
/** Where its OCSP responder is. */
export const ocspPath = "/ocsp";

/** The URLs that certificates are to name. */
export function statusUrls(configuration: RevocationConfiguration | undefined): StatusUrls | undefined {
  if (configuration?.publicUrl === undefined) return undefined;
  return { crl: configuration.publicUrl + crlPath, ocsp: configuration.publicUrl + ocspPath };
}
