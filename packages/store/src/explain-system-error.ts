import { constants } from "node:os";

import { errorText, PosternError } from "@postern/core/errors";

import { StoreFullError, StoreUnreadableError } from "./errors.ts";

const { ENOSPC, EDQUOT, EFBIG, EACCES, EPERM, EROFS } = constants.errno;
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

/** Whether the system said that there is no more room. */
export function isNoRoom(error: unknown): boolean {
  return NO_ROOM.has(codeOf(error));
}

/** An error of the system as one of ours that a person can act on; others as they are. `attempt` begins the sentence. */
export function explainSystemError(error: unknown, attempt: string): unknown {
  if (error instanceof PosternError) return error;
  const text = `${attempt}: ${errorText(error)}.`;
  if (isNoRoom(error)) return new StoreFullError(`${text} Make room on its disk.`, { cause: error });
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
