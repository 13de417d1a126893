import { randomBytes } from "node:crypto";
import {
  chownSync,
  closeSync,
  existsSync,
  openSync,
  renameSync,
  rmSync,
  statSync,
  writeSync,
  fsyncSync,
} from "node:fs";
import { dirname } from "node:path";

import { errorCode, errorText } from "@postern/core/errors";

import { UsageError } from "../errors.ts";

const problems: Readonly<Record<string, string>> = {
  ENOENT: "there is no such directory",
  ENOTDIR: "there is no such directory",
  EACCES: "this user may not write there",
  EROFS: "the file system is read-only",
  EISDIR: "it is a directory",
  ENOSPC: "the disk is full",
};

/** A file for a secret, and how it is spoken of. */
export interface Reservation {
  readonly path: string;
  /** Such as `bundle`. */
  readonly what: string;
  /** The option that names it. */
  readonly option: string;
  /** Whether one that is there may go. */
  readonly replace: boolean;
}

function cannotWrite({ path, what }: Reservation, thrown: unknown): UsageError {
  return new UsageError(
    `cannot write the ${what} ${path}: ${problems[errorCode(thrown) ?? ""] ?? errorText(thrown)}`,
    { cause: thrown },
  );
}

/** A place for a secret, taken before there is one: what cannot be written is known before anything is issued. */
export class ReservedFile implements Disposable {
  readonly #reservation: Reservation;
  readonly #temporary: string;
  #descriptor: number | undefined;

  /** @throws {UsageError} when the file cannot be written, or is there and may not be replaced. */
  constructor(reservation: Reservation) {
    const { path, option, replace } = reservation;
    this.#reservation = reservation;
    this.#temporary = `${path}.${randomBytes(4).toString("hex")}`;
    if (existsSync(path) && !replace)
      throw new UsageError(`${path} is there already: name another file with ${option}, or move it away`);
    if (existsSync(path) && statSync(path).isDirectory()) throw cannotWrite(reservation, { code: "EISDIR" });
    try {
      this.#descriptor = openSync(this.#temporary, "wx", 0o600);
    } catch (thrown) {
      throw cannotWrite(reservation, thrown);
    }
  }

  /** Puts the secret in its place, for its owner alone. @throws {UsageError} */
  write(text: string): void {
    const descriptor = this.#descriptor;
    const { path, what } = this.#reservation;
    if (descriptor === undefined) throw new TypeError(`the ${what} was written already`);
    try {
      writeSync(descriptor, text);
      fsyncSync(descriptor);
      const { uid, gid } = statSync(dirname(path));
      // What root writes into somebody's directory is for that somebody: the server keeps those in its own up to date.
      if (process.getuid?.() === 0) chownSync(this.#temporary, uid, gid);
      renameSync(this.#temporary, path);
    } catch (thrown) {
      throw cannotWrite(this.#reservation, thrown);
    }
    closeSync(descriptor);
    this.#descriptor = undefined;
  }

  /** Leaves nothing behind when there was nothing to write. */
  [Symbol.dispose](): void {
    if (this.#descriptor === undefined) return;
    closeSync(this.#descriptor);
    rmSync(this.#temporary, { force: true });
    this.#descriptor = undefined;
  }
}
