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
import { formatBundle, type Bundle } from "@postern/core/bundle";

import { UsageError } from "../errors.ts";

const problems: Readonly<Record<string, string>> = {
  ENOENT: "there is no such directory",
  ENOTDIR: "there is no such directory",
  EACCES: "this user may not write there",
  EROFS: "the file system is read-only",
  EISDIR: "it is a directory",
  ENOSPC: "the disk is full",
};

function cannotWrite(path: string, thrown: unknown): UsageError {
  return new UsageError(
    `cannot write the bundle ${path}: ${problems[errorCode(thrown) ?? ""] ?? errorText(thrown)}`,
    { cause: thrown },
  );
}

/** A place for a bundle, taken before there is one: what cannot be written is known before anything is issued. */
export class BundleFile implements Disposable {
  readonly path: string;
  readonly #temporary: string;
  #descriptor: number | undefined;

  /** @throws {UsageError} when the file cannot be written, or is there and may not be replaced. */
  constructor(path: string, { replace }: { readonly replace: boolean }) {
    this.path = path;
    this.#temporary = `${path}.${randomBytes(4).toString("hex")}`;
    if (existsSync(path) && !replace)
      throw new UsageError(`${path} is there already: name another file with --bundle, or move it away`);
    if (existsSync(path) && statSync(path).isDirectory()) throw cannotWrite(path, { code: "EISDIR" });
    try {
      this.#descriptor = openSync(this.#temporary, "wx", 0o600);
    } catch (thrown) {
      throw cannotWrite(path, thrown);
    }
  }

  /** Puts the bundle in its place, for its owner alone. @throws {UsageError} */
  write(bundle: Bundle): void {
    const descriptor = this.#descriptor;
    if (descriptor === undefined) throw new TypeError("the bundle was written already");
    try {
      writeSync(descriptor, formatBundle(bundle));
      fsyncSync(descriptor);
      const { uid, gid } = statSync(dirname(this.path));
      // What root writes into somebody's directory is for that somebody: the server keeps the bundles in its own up to date.
      if (process.getuid?.() === 0) chownSync(this.#temporary, uid, gid);
      renameSync(this.#temporary, this.path);
    } catch (thrown) {
      throw cannotWrite(this.path, thrown);
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
