import { statfsSync } from "node:fs";
import { constants } from "node:os";

import { errorText, PosternError } from "@postern/core/errors";

import { StoreFullError, StoreUnreadableError } from "./errors.ts";

const { ENOSPC, EDQUOT, EFBIG, EIO, EACCES, EPERM, EROFS } = constants.errno;
/** Less than what the largest message takes. */
const NO_ROOM_BYTES = 1 << 20;
const MDB_MAP_FULL = -30_792;

/** Node names the system's errors, LMDB numbers them. */
const NO_ROOM: ReadonlySet<unknown> = new Set([
  "ENOSPC",
  "EDQUOT",
  "EFBIG",
  ENOSPC,
  EDQUOT,
  EFBIG,
  MDB_MAP_FULL,
]);
const NO_RIGHT: ReadonlySet<unknown> = new Set(["EACCES", "EPERM", "EROFS", EACCES, EPERM, EROFS]);

/**
 * Whether a write in `directory` failed because there is no more room. LMDB calls a write that the system cut short
 * an input/output error, so the room that is left decides what such an error was.
 */
export function isNoRoom(error: unknown, directory: string): boolean {
  const code = codeOf(error);
  return NO_ROOM.has(code) || (code === EIO && freeBytes(directory) < NO_ROOM_BYTES);
}

function freeBytes(directory: string): number {
  try {
    const { bavail, bsize } = statfsSync(directory);
    return bavail * bsize;
  } catch {
    return Infinity;
  }
}

/**
 * An error of the system, met while writing in `directory`, as one of ours that a person can act on; others as they
 * are. `attempt` begins the sentence.
 */
export function explainSystemError(error: unknown, attempt: string, directory: string): unknown {
  if (error instanceof PosternError) return error;
  const text = `${attempt}: ${errorText(error)}.`;
  if (isNoRoom(error, directory))
    return new StoreFullError(`${text} Make room on its disk.`, { cause: error });
  if (NO_RIGHT.has(codeOf(error))) {
    return new StoreUnreadableError(`${text} Give this user the right to read and write it.`, {
      cause: error,
    });
  }
  return error;
}

function codeOf(error: unknown): unknown {
  return typeof error === "object" && error !== null && "code" in error ? error.code : undefined;
}
