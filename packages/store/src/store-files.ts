import { chmodSync, closeSync, fsyncSync, mkdirSync, openSync, renameSync, rmSync } from "node:fs";
import { dirname, join } from "node:path";

import { errorText } from "@postern/core/errors";

import { StoreUnreadableError } from "./errors.ts";

const FILE_MODE = 0o600;
const DIRECTORY_MODE = 0o700;

/** The one file with everything in it. */
export function dataFile(directory: string): string {
  return join(directory, "store.mdb");
}

/** Makes the directory, for its owner alone, where it is not there yet. @throws {StoreUnreadableError} */
export function makeDirectory(directory: string): void {
  try {
    mkdirSync(directory, { recursive: true, mode: DIRECTORY_MODE });
  } catch (error) {
    throw new StoreUnreadableError(
      `The directory ${directory} for the session store cannot be made: ${errorText(error)}.`,
      {
        cause: error,
      },
    );
  }
}

/** Makes `file` anew and empty, for its owner alone. */
export function makeFile(file: string): void {
  removeFile(file);
  closeSync(openSync(file, "wx", FILE_MODE));
}

/** Takes away a data file (if it is there) with LMDB's lock file beside it, which is of no use between two starts. */
export function removeFile(file: string): void {
  rmSync(file, { force: true });
  removeLockFile(file);
}

/** A damaged or foreign lock file could stop LMDB, and nobody else uses it: the directory is locked. */
export function removeLockFile(file: string): void {
  rmSync(`${file}-lock`, { force: true });
}

/** Nobody but the owner reads a data file or LMDB's lock file beside it, whatever the umask was. */
export function protectFile(file: string): void {
  chmodSync(file, FILE_MODE);
  chmodSync(`${file}-lock`, FILE_MODE);
}

/** Puts `from` in the place of `to` at one stroke, and makes that durable. */
export function replaceFile(from: string, to: string): void {
  syncPath(from);
  renameSync(from, to);
  syncPath(dirname(to));
}

/** Brings what was written to a file, or to the list of a directory's files, to the disk. */
function syncPath(path: string): void {
  const descriptor = openSync(path, "r");
  try {
    fsyncSync(descriptor);
  } finally {
    closeSync(descriptor);
  }
}
