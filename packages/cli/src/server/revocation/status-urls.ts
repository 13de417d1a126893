import type { StatusUrlsOf } from "@postern/identity/authority";

import type { RevocationConfiguration } from "../../config/revocation.ts";

/** Where the CRL of the issuing authority with this certificate is, below the base URL. */
export function crlPath(serialNumber: string): string {
  return `/crl/issuing-${serialNumber}.crl`;
}

/** Where its OCSP responder is. */
export const ocspPath = "/ocsp";

/** The URLs that certificates are to name. */
export function statusUrls(configuration: RevocationConfiguration | undefined): StatusUrlsOf | undefined {
  const base = configuration?.publicUrl;
  if (base === undefined) return undefined;
  return (serialNumber) => ({ crl: base + crlPath(serialNumber), ocsp: base + ocspPath });
}
