import { existsSync, readFileSync, truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";

import { errorText } from "@postern/core/errors";

import { StoreLockedError, StoreUnreadableError } from "./errors.ts";

const SQLITE_BUSY = 5;
const SQLITE_NOTADB = 26;

/**
 * Makes this the only store in `directory`, until the returned function is called or the process ends, however it
 * ends: the lock is the kernel's (SQLite's exclusive file lock on an empty file), so nothing stale can be left. It
 * holds between containers that share the directory, and within one process.
 * @throws {StoreLockedError | StoreUnreadableError}
 */
export function lockDirectory(directory: string): () => void {
  const file = join(directory, "lock");
  const ownerFile = join(directory, "owner");
  const database = lockFile(file, () => lockedError(directory, ownerFile));
  // For the message of the next one who tries; the lock does not depend on it.
  writeFileSync(ownerFile, `${process.pid}\n`, { mode: 0o600 });
  let isLocked = true;
  return () => {
    if (isLocked) database.close();
    isLocked = false;
  };
}

function lockFile(file: string, locked: () => Error): DatabaseSync {
  for (const isLastTry of [false, true]) {
    const database = openLock(file);
    try {
      database.exec("PRAGMA locking_mode = EXCLUSIVE; PRAGMA journal_mode = MEMORY; BEGIN EXCLUSIVE");
      return database;
    } catch (error) {
      database.close();
      const code = sqliteCode(error);
      if (code === SQLITE_BUSY) throw locked();
      if (code !== SQLITE_NOTADB || isLastTry) throw unreadable(file, error);
      // The file is of no use but as a name: whatever got into it goes.
      truncateSync(file);
    }
  }
  throw new Error("unreachable");
}

function openLock(file: string): DatabaseSync {
  try {
    // Made with the rights we want; SQLite would leave that to the umask. A file that is there must not be opened by
    // us: closing it again would drop the locks that this process may hold on it (POSIX).
    if (!existsSync(file)) writeFileSync(file, "", { flag: "ax", mode: 0o600 });
    return new DatabaseSync(file, { timeout: 0 });
  } catch (error) {
    throw unreadable(file, error);
  }
}

function unreadable(file: string, cause: unknown): StoreUnreadableError {
  return new StoreUnreadableError(
    `The lock file ${file} of the session store cannot be used: ${errorText(cause)}.`,
    {
      cause,
    },
  );
}

function lockedError(directory: string, ownerFile: string): StoreLockedError {
  const owner = readOwner(ownerFile);
  const isOurs = owner === String(process.pid);
  const who = isOurs || owner === undefined ? "another server" : `another server (process ${owner})`;
  return new StoreLockedError(`The session store in ${directory} is in use by ${who}. Stop that one first.`);
}

function readOwner(ownerFile: string): string | undefined {
  try {
    return /^\d{1,10}$/.exec(readFileSync(ownerFile, "utf8").trim())?.[0];
  } catch {
    return undefined;
  }
}

function sqliteCode(error: unknown): number | undefined {
  if (typeof error !== "object" || error === null || !("errcode" in error)) return undefined;
  return typeof error.errcode === "number" ? error.errcode : undefined;
}
