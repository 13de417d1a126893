import { randomBytes } from "node:crypto";
import { linkSync, mkdirSync, readFileSync, rmdirSync, rmSync, statSync, writeFileSync } from "node:fs";

import { errorCode } from "@postern/core/errors";

/** Locks of this process: one that has its number in it and is not among these is left over, as in a container that starts again. */
const held = new Set<string>();

/** Whoever takes away a lock that was left over does so within this time. */
const breakingMs = 10_000;

export type LockResult =
  | { readonly kind: "taken"; readonly release: () => void }
  | { readonly kind: "in-use"; readonly pid: number };

/**
 * Takes a lock that is a file with the number of the process that has it; one whose process is gone is taken over. Of several
 * processes that find such a one at the same time, one gets it. Throws what the file system says otherwise.
 */
export function takeLock(path: string): LockResult {
  if (create(path)) return taken(path);
  const pid = ownerOf(path);
  if (pid !== undefined && isAlive(path, pid)) return { kind: "in-use", pid };
  breakLock(path);
  return create(path) ? taken(path) : { kind: "in-use", pid: ownerOf(path) ?? 0 };
}

function taken(path: string): LockResult {
  held.add(path);
  const release = (): void => {
    held.delete(path);
    rmSync(path, { force: true });
  };
  return { kind: "taken", release };
}

/** Never leaves a lock that says nothing of its owner: it is written under another name first. */
function create(path: string): boolean {
  const own = `${path}.${process.pid}.${randomBytes(4).toString("hex")}`;
  writeFileSync(own, `${process.pid}\n`, { flag: "wx", mode: 0o600 });
  try {
    linkSync(own, path);
    return true;
  } catch (thrown) {
    if (errorCode(thrown) === "EEXIST") return false;
    throw thrown;
  } finally {
    rmSync(own, { force: true });
  }
}

/** `undefined` when there is no lock any more. */
function ownerOf(path: string): number | undefined {
  try {
    return Number(readFileSync(path, "utf8"));
  } catch (thrown) {
    if (errorCode(thrown) === "ENOENT") return undefined;
    throw thrown;
  }
}

function isAlive(path: string, pid: number): boolean {
  if (pid === process.pid) return held.has(path);
  if (!Number.isSafeInteger(pid) || pid <= 0) return false;
  try {
    process.kill(pid, 0);
    return true;
  } catch (thrown) {
    return errorCode(thrown) === "EPERM";
  }
}

/**
 * Takes away a lock that is left over. It is looked at again while nobody else does the same: otherwise the second to come would take away
 * what the first has just made.
 */
function breakLock(path: string): void {
  const guard = `${path}.breaking`;
  if (!enter(guard)) return;
  try {
    const pid = ownerOf(path);
    if (pid !== undefined && !isAlive(path, pid)) rmSync(path, { force: true });
  } finally {
    leave(guard);
  }
}

function enter(guard: string): boolean {
  try {
    mkdirSync(guard);
    return true;
  } catch (thrown) {
    if (errorCode(thrown) !== "EEXIST") throw thrown;
  }
  const madeAt = statSync(guard, { throwIfNoEntry: false })?.mtimeMs ?? Infinity;
  // Its process ended in the middle of it.
  if (Date.now() - madeAt > breakingMs) leave(guard);
  return false;
}

function leave(guard: string): void {
  try {
    rmdirSync(guard);
  } catch (thrown) {
    if (errorCode(thrown) !== "ENOENT") throw thrown;
  }
}
