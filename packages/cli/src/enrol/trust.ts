import { ConnectionError } from "@postern/device/errors";
import { askEst, certificatesOf, granted, type EstPlace } from "@postern/device/est/est-client";
import type { Trust } from "@postern/device/est/trust";

import { UsageError } from "../errors.ts";

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
