import { X509Certificate } from "node:crypto";
import { readFileSync, statSync } from "node:fs";
import { resolve } from "node:path";
import { createSecureContext } from "node:tls";

import { errorCode, errorText } from "@postern/core/errors";
import { parseBundle, type Bundle } from "@postern/identity/bundle";

import { UsageError } from "../errors.ts";

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

/** Where files are looked for, and who hears of files that are open to others. */
export interface FilePorts {
  readonly cwd: string;
  warn(text: string): void;
}

const problems: Readonly<Record<string, string>> = {
  ENOENT: "there is no such file",
  EACCES: "this user may not read it",
  EISDIR: "it is a directory",
  ENOTDIR: "there is no such directory",
};

/** @throws {UsageError} when the file cannot be read; `what` says what it was to be. */
export function readInput(file: string, what: string, ports: Pick<FilePorts, "cwd">): Buffer {
  try {
    return readFileSync(resolve(ports.cwd, file));
  } catch (thrown) {
    const problem = problems[errorCode(thrown) ?? ""] ?? errorText(thrown);
    throw new UsageError(`cannot read ${what} ${file}: ${problem}`, { cause: thrown });
  }
}

/** Reads a file that holds a secret, and warns when others can read it too. */
export function readSecretInput(file: string, what: string, ports: FilePorts): string {
  const text = readInput(file, what, ports).toString("utf8");
  const status = statSync(resolve(ports.cwd, file));
  if (status.isFile() && (status.mode & 0o077) !== 0) {
    const mode = (status.mode & 0o777).toString(8).padStart(4, "0");
    ports.warn(`${file} holds a secret and is open to other users (mode ${mode}): run chmod 600 ${file}`);
  }
  return text;
}

/**
 * Reads a device bundle.
 * @throws {UsageError} when the file cannot be read, {BundleError} when it is not a usable bundle.
 */
export function readBundle(file: string, ports: FilePorts): Bundle {
  return parseBundle(readSecretInput(file, "the bundle", ports), file);
}

/** The password in a file: its first line, without the line's end. */
export function readPassword(file: string, ports: FilePorts): Buffer {
  const [line = ""] = readSecretInput(file, "the password file", ports).split(/\r?\n/, 1);
  if (line === "") throw new UsageError(`the password file ${file} has an empty first line`);
  return Buffer.from(line, "utf8");
}

/** What RFC 9257 §6 asks for at the least, and what Postern's server insists on. */
const pskBytesMin = 16;

/** @throws {UsageError} for a key that no server of ours would take; the message holds nothing of it. */
export function checkPsk({ identity, key }: PreSharedKey, source: string): void {
  if (identity.length === 0 || Buffer.byteLength(identity) > 128)
    throw new UsageError(`${source}: the identity of the pre-shared key must have 1 to 128 bytes`);
  if (key.length < pskBytesMin)
    throw new UsageError(
      `${source}: the pre-shared key has ${key.length * 8} bits; ${pskBytesMin * 8} are the least that can be used`,
    );
}

/** A pre-shared key in a file: its first line is `identity:key in hex`, as in Mosquitto's `psk_file`. */
export function readPsk(file: string, ports: FilePorts): PreSharedKey {
  const [line = ""] = readSecretInput(file, "the pre-shared key", ports).split(/\r?\n/, 1);
  const [, identity, hex] = /^([^:]+):((?:[0-9A-Fa-f]{2})+)$/.exec(line) ?? [];
  if (identity === undefined || hex === undefined)
    throw new UsageError(
      `${file} holds no pre-shared key: its first line must be identity:key, the key in hex`,
    );
  const psk = { identity, key: Buffer.from(hex, "hex") };
  checkPsk(psk, file);
  return psk;
}

export interface PemFiles {
  readonly ca?: string | undefined;
  readonly cert?: string | undefined;
  readonly key?: string | undefined;
}

/** Reads `--ca`, `--cert` and `--key`. @throws {UsageError} naming the file that cannot be read. */
export function readPemFiles(files: PemFiles, ports: FilePorts): TlsCredentials {
  if ((files.cert === undefined) !== (files.key === undefined)) {
    throw new UsageError(
      "--cert and --key go together: one is the certificate, the other proves that it is ours",
    );
  }
  const read = (file: string | undefined, what: string) =>
    file === undefined ? undefined : readInput(file, what, ports).toString("utf8");
  return {
    ca: read(files.ca, "the certificate authority"),
    cert: read(files.cert, "the certificate"),
    key: files.key === undefined ? undefined : readSecretInput(files.key, "the key", ports),
  };
}

/**
 * Makes sure, before anything is sent, that the credentials can be used.
 * @param source names them in messages.
 * @throws {UsageError} for what is not PEM, for a key with a passphrase, and for a key that is not the certificate's.
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
      throw new UsageError(`${source}: the ${what} cannot be used: ${openSslProblem(thrown)}`, {
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
