import { readdirSync, statSync } from "node:fs";
import { join, resolve } from "node:path";

import { errorCode } from "@postern/core/errors";

import { DataDirectoryError, DataVersionError } from "./errors.ts";
import { attempt, fileError, makePrivateDirectory, readTextIfThere, replacePrivateFile } from "./files.ts";

/** The version of the layout below. Raised when an older Postern must not touch the directory. */
const layoutVersion = 1;

/** Where everything is, as absolute paths. Directories have mode 0700, files 0600. */
export interface DataDirectory {
  readonly path: string;
  /** The configuration that is used when none is named; the user's, never written. */
  readonly config: string;
  /** Who may do what; written at the first start, the user's from then on. */
  readonly permissions: string;
  /** Certificate authority, server certificate, device registry. */
  readonly pki: string;
  /** One file for each device. */
  readonly bundles: string;
  /** The session store's. */
  readonly state: string;
  readonly audit: string;
  /** Lock and sockets of a running server. */
  readonly run: string;
}

/** What a person may put there before the first start. */
const userFiles: ReadonlySet<string> = new Set(["postern.yaml", "permissions.yaml", "lost+found"]);

/** The places within a data directory, whether it exists or not. */
export function dataDirectoryAt(path: string): DataDirectory {
  const absolute = resolve(path);
  return {
    path: absolute,
    config: join(absolute, "postern.yaml"),
    permissions: join(absolute, "permissions.yaml"),
    pki: join(absolute, "pki"),
    bundles: join(absolute, "bundles"),
    state: join(absolute, "state"),
    audit: join(absolute, "audit"),
    run: join(absolute, "run"),
  };
}

function isDirectory(path: string): boolean | undefined {
  try {
    return statSync(path).isDirectory();
  } catch (thrown) {
    if (errorCode(thrown) === "ENOENT") return undefined;
    throw fileError(`use ${path} as the data directory`, thrown);
  }
}

/**
 * Whether there is a data directory of ours at `path`; `false` for nothing or an empty directory.
 * @throws {DataDirectoryError} when something else is there, {@link DataVersionError} when it is of a newer version.
 */
export function isDataDirectory(path: string): boolean {
  const directory = isDirectory(path);
  if (directory === undefined) return false;
  if (!directory) {
    throw new DataDirectoryError(
      `cannot use ${path} as the data directory: it is a file; choose another --data`,
    );
  }
  const version = readTextIfThere(join(path, "version"));
  if (version === undefined) {
    const names = attempt(`read the directory ${path}`, () => readdirSync(path));
    // An interrupted first start leaves the version's temporary file; hidden files are the file system's or the user's.
    const foreign = names.find(
      (name) => !userFiles.has(name) && name !== "version.tmp" && !name.startsWith("."),
    );
    if (foreign === undefined) return false;
    throw new DataDirectoryError(
      `cannot use ${path} as the data directory: it holds something else ("${foreign}"); choose an empty or a new directory`,
    );
  }
  const number = Number(version);
  if (Number.isSafeInteger(number) && number > layoutVersion) {
    throw new DataVersionError(
      `${path} was written by a newer Postern (data version ${number}, this one knows ${layoutVersion}): install that version or choose another --data`,
    );
  }
  if (number !== layoutVersion) {
    throw new DataDirectoryError(
      `${join(path, "version")} is damaged: it must hold the number ${layoutVersion}; put the directory back from a backup`,
    );
  }
  return true;
}

/** Creates the data directory, or makes sure that it is ours and complete. @throws as {@link isDataDirectory}. */
export function openDataDirectory(path: string): DataDirectory {
  const directory = dataDirectoryAt(path);
  if (!isDataDirectory(directory.path)) {
    makePrivateDirectory(directory.path);
    replacePrivateFile(join(directory.path, "version"), `${layoutVersion}\n`);
  }
  // `pki` is missing here: it appears in one step, complete (see createAuthority).
  for (const part of [directory.bundles, directory.state, directory.audit, directory.run])
    makePrivateDirectory(part);
  return directory;
}
