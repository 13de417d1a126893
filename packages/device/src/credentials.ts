import { X509Certificate } from "node:crypto";
import { createSecureContext } from "node:tls";

import { errorCode, errorText } from "@postern/core/errors";

import { CredentialsError } from "./errors.ts";

/** What TLS needs, in PEM. `ca` is the only authority trusted; `undefined` means those that Node trusts. */
export interface TlsCredentials {
  readonly ca: string | undefined;
  readonly cert: string | undefined;
  readonly key: string | undefined;
  /** For a server that knows us by a pre-shared key; then there are no certificates, on either side. */
  readonly psk?: PreSharedKey | undefined;
}

export interface PreSharedKey {
  readonly identity: string;
  readonly key: Uint8Array;
}

/** What RFC 9257 §6 asks for at the least, and what Postern's server insists on. */
const pskBytesMin = 16;

/** @throws {CredentialsError} for a key that no server of ours would take; the message holds nothing of it. */
export function checkPsk({ identity, key }: PreSharedKey, source: string): void {
  if (identity.length === 0 || Buffer.byteLength(identity) > 128)
    throw new CredentialsError(`${source}: the identity of the pre-shared key must have 1 to 128 bytes`);
  if (key.length < pskBytesMin)
    throw new CredentialsError(
      `${source}: the pre-shared key has ${key.length * 8} bits; ${pskBytesMin * 8} are the least that can be used`,
    );
}

/**
 * Makes sure, before anything is sent, that the credentials can be used.
 * @param source names them in messages.
 * @throws {CredentialsError} for what is not PEM, for a key with a passphrase, and for a key that is not the certificate's.
 */
export function checkCredentials({ ca, cert, key }: TlsCredentials, source: string): void {
  // createSecureContext takes anything for a certificate authority and then trusts nobody.
  const parts: readonly (readonly [what: string, check: () => unknown])[] = [
    ["certificate authority", () => ca !== undefined && new X509Certificate(ca)],
    ["certificate", () => cert !== undefined && new X509Certificate(cert)],
    ["key", () => key !== undefined && createSecureContext({ cert, key })],
  ];
  for (const [what, check] of parts) {
    try {
      check();
    } catch (thrown) {
      throw new CredentialsError(`${source}: the ${what} cannot be used: ${openSslProblem(thrown)}`, {
        cause: thrown,
      });
    }
  }
}

const noPassphrase = "it is protected by a passphrase, which is not supported";

const openSslProblems: Readonly<Record<string, string>> = {
  ERR_OSSL_X509_KEY_VALUES_MISMATCH: "it is not the certificate's",
  ERR_MISSING_PASSPHRASE: noPassphrase,
  ERR_OSSL_CRYPTO_INTERRUPTED_OR_CANCELLED: noPassphrase,
  ERR_OSSL_PEM_NO_START_LINE: "it is not PEM (-----BEGIN …)",
};

function openSslProblem(thrown: unknown): string {
  const known = openSslProblems[errorCode(thrown) ?? ""];
  return known ?? errorText(thrown).replace(/^error:[0-9A-F]+:/, "");
}

/** When our own certificate ended (ISO 8601, UTC), if that is in the past of `nowMs`; for messages. */
export function expiredSince(cert: string | undefined, nowMs: number): string | undefined {
  if (cert === undefined) return undefined;
  const { validToDate } = new X509Certificate(cert);
  return validToDate.getTime() < nowMs ? validToDate.toISOString() : undefined;
}

/** When our own token ended, as `expiredSince`; what is no token, or one without an end, has not. Nothing is verified: the server does. */
export function endedSince(token: Uint8Array | undefined, nowMs: number): string | undefined {
  const [, payload = ""] = Buffer.from(token ?? [])
    .toString("latin1")
    .split(".");
  try {
    const claims: unknown = JSON.parse(Buffer.from(payload, "base64url").toString("utf8"));
    if (typeof claims !== "object" || claims === null || !("exp" in claims)) return undefined;
    const { exp } = claims;
    return typeof exp === "number" && exp * 1_000 < nowMs ? new Date(exp * 1_000).toISOString() : undefined;
  } catch {
    return undefined;
  }
}
