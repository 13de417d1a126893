import {
  closeSync,
  fsyncSync,
  mkdirSync,
  openSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeSync,
} from "node:fs";
import { dirname } from "node:path";

import { errorCode, errorText } from "@postern/core/errors";

import { DataDirectoryError, PkiFileError } from "./errors.ts";

const denied = "permission denied; give this user the right to write there or choose another --data";
const inTheWay = "a file is in the way; move it or choose another --data";
const full = "the disk is full; free some space and try again";

/** What the file system says, and how to mend it. */
const causes: Readonly<Record<string, string>> = {
  EACCES: denied,
  EPERM: denied,
  EROFS: "the file system is read-only; choose another --data",
  ENOSPC: full,
  EDQUOT: full,
  ENOTDIR: inTheWay,
  EEXIST: inTheWay,
};

/** The sentence for a file operation that failed: "cannot <attempted>: <cause>; <mend>". */
export function fileError(attempted: string, thrown: unknown): DataDirectoryError {
  const cause = causes[errorCode(thrown) ?? ""] ?? errorText(thrown);
  return new DataDirectoryError(`cannot ${attempted}: ${cause}`, { cause: thrown });
}

/** Does `work`; what the file system refuses is thrown as {@link fileError}. */
export function attempt<T>(attempted: string, work: () => T): T {
  try {
    return work();
  } catch (thrown) {
    // Errors of the system have a number; everything else has its own sentence already.
    if (thrown instanceof Error && "errno" in thrown) throw fileError(attempted, thrown);
    throw thrown;
  }
}

/** Makes what was renamed or created in a directory survive a power cut. */
export function syncDirectory(path: string): void {
  const descriptor = openSync(path, "r");
  try {
    fsyncSync(descriptor);
  } finally {
    closeSync(descriptor);
  }
}

/** Creates a directory only its owner can enter; does nothing when it is there. */
export function makePrivateDirectory(path: string): void {
  attempt(`create the directory ${path}`, () => mkdirSync(path, { recursive: true, mode: 0o700 }));
}

/** Writes a new file, mode 0600, and waits until it is on disk. An old file of this name is replaced. */
export function writePrivateFile(path: string, text: string): void {
  attempt(`write ${path}`, () => {
    // A left-over may have another mode or be a link: never write through it.
    rmSync(path, { force: true });
    const descriptor = openSync(path, "wx", 0o600);
    try {
      writeSync(descriptor, text);
      fsyncSync(descriptor);
    } finally {
      closeSync(descriptor);
    }
  });
}

/** Moves `from` to `to` in one step that is on disk when this returns. */
export function moveIntoPlace(from: string, to: string): void {
  attempt(`write ${to}`, () => {
    renameSync(from, to);
    syncDirectory(dirname(to));
  });
}

/** Replaces a file's content so that a crash leaves the old or the new, never a part. */
export function replacePrivateFile(path: string, text: string): void {
  const temporary = `${path}.tmp`;
  writePrivateFile(temporary, text);
  moveIntoPlace(temporary, path);
}

/** The file's text, or `undefined` when there is no such file. */
export function readTextIfThere(path: string): string | undefined {
  try {
    return readFileSync(path, "utf8");
  } catch (thrown) {
    if (errorCode(thrown) === "ENOENT") return undefined;
    throw fileError(`read ${path}`, thrown);
  }
}

/**
 * The text of a file that holds a secret, or `undefined` when there is no such file.
 * @throws {PkiFileError} when others than its owner may read or write it.
 */
export function readSecretIfThere(path: string): string | undefined {
  const text = readTextIfThere(path);
  if (text === undefined) return undefined;
  checkSecretMode(
    path,
    attempt(`read ${path}`, () => statSync(path).mode),
  );
  return text;
}

/** @throws {PkiFileError} when `mode` lets others than its owner read or write the file with secrets at `path`. */
export function checkSecretMode(path: string, mode: number): void {
  if ((mode & 0o077) === 0) return;
  const octal = (mode & 0o777).toString(8).padStart(4, "0");
  throw new PkiFileError(
    `${path} holds secrets and is open to other users (mode ${octal}): run chmod 600 ${path}`,
  );
}
