import { decodeCertificate, splitPem } from "@postern/pki/certificate";

import { CredentialsError } from "../errors.ts";
import type { Authorities } from "./issued.ts";

export type Trust = Pick<Authorities, "ca" | "trusted">;

/** The authorities in a PEM text; `source` names it. @throws {CredentialsError} when there are none. */
export function trustPem(pem: string, source: string): Trust {
  const trusted = splitPem(pem).map((single) => decodeCertificate(single));
  const readable = trusted.filter((certificate) => certificate !== undefined);
  if (readable.length === 0 || readable.length !== trusted.length)
    throw new CredentialsError(`${source} holds no certificate authority in PEM`);
  return { ca: pem, trusted: readable };
}
