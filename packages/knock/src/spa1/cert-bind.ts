import { createHash, X509Certificate } from "node:crypto";

import { certBindBytes } from "./packet.ts";

/** What a packet calls a certificate: the first 6 bytes of SHA-256 over its public key (SPKI), in hexadecimal digits. */
export function certBindOf(certificate: string | Uint8Array): string {
  const { publicKey } = new X509Certificate(certificate);
  const spki = publicKey.export({ format: "der", type: "spki" });
  return createHash("sha256").update(spki).digest().subarray(0, certBindBytes).toString("hex");
}
