import { readFileSync, statSync } from "node:fs";
import { resolve } from "node:path";

import { errorCode, errorText } from "@postern/core/errors";
import { parseBundle, type Bundle } from "@postern/core/bundle";
import { checkPsk, type PreSharedKey, type TlsCredentials } from "@postern/device/credentials";

import { UsageError } from "../errors.ts";

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
