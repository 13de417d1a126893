import { decodeCertificate, splitPem } from "@postern/pki/certificate";

import { ConnectionError } from "../client/errors.ts";
import { UsageError } from "../errors.ts";
import { askEst, certificatesOf, granted, type EstPlace } from "./est-client.ts";
import type { Authorities } from "./issued.ts";

type Trust = Pick<Authorities, "ca" | "trusted">;

/** The authorities in a PEM text; `source` names it. @throws {UsageError} when there are none. */
export function trustPem(pem: string, source: string): Trust {
  const trusted = splitPem(pem).map((single) => decodeCertificate(single));
  const readable = trusted.filter((certificate) => certificate !== undefined);
  if (readable.length === 0 || readable.length !== trusted.length)
    throw new UsageError(`${source} holds no certificate authority in PEM`);
  return { ca: pem, trusted: readable };
}

/** `AB:CD:…` as it is written in certificates, from any usual form. @throws {UsageError} */
function normalFingerprint(text: string): string {
  const hex = text
    .replace(/^sha-?256[:= ]*/i, "")
    .replaceAll(":", "")
    .toUpperCase();
  if (!/^[0-9A-F]{64}$/.test(hex))
    throw new UsageError(
      "--fingerprint is the SHA-256 of the authority: 64 hexadecimal digits, as `postern up` shows it",
    );
  return hex.replace(/..(?=.)/g, "$&:");
}

/**
 * The authority with this fingerprint, as the server shows it. Nothing is sent to the server for it, and nothing it says is
 * believed but by the fingerprint. @see RFC 7030 §4.1.1
 * @throws {ConnectionError} when it shows another.
 */
export async function trustFingerprint(place: EstPlace, fingerprint: string): Promise<Trust> {
  const wanted = normalFingerprint(fingerprint);
  const tls = { ca: undefined, cert: undefined, key: undefined, anyServer: true } as const;
  const answer = await askEst(place, tls, { method: "GET", path: "/.well-known/est/cacerts" });
  const shown = certificatesOf(granted(answer, place, "to show its authorities"), place);
  const found = shown.find((certificate) => certificate.fingerprint === wanted && certificate.authority);
  if (found === undefined) {
    throw new ConnectionError(
      `${place.url} does not show the certificate authority with this fingerprint: it is another server, or somebody is in between`,
      { retry: false },
    );
  }
  return { ca: found.x509.toString(), trusted: [found] };
}
