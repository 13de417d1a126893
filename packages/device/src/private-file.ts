import {
  closeSync,
  fchownSync,
  fsyncSync,
  lstatSync,
  openSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { dirname } from "node:path";

import { errorCode, errorText } from "@postern/core/errors";

import { DeviceFileError } from "./errors.ts";

/** Makes what was renamed or created in a directory survive a power cut. */
function syncDirectory(path: string): void {
  const descriptor = openSync(path, "r");
  try {
    fsyncSync(descriptor);
  } finally {
    closeSync(descriptor);
  }
}

export interface ReplaceOptions {
  /** When root writes it, it stays the file of whoever has it: somebody else is to read it. */
  readonly keepsOwner?: boolean;
}

function ownerOf(path: string): { readonly uid: number; readonly gid: number } | undefined {
  const found = process.getuid?.() === 0 ? lstatSync(path, { throwIfNoEntry: false }) : undefined;
  return found?.isFile() === true ? found : undefined;
}

/**
 * Replaces a file's content, mode 0600, so that a crash leaves the old or the new, never a part.
 * @throws {DeviceFileError}
 */
export function replacePrivateFile(
  path: string,
  content: string | Uint8Array,
  { keepsOwner = false }: ReplaceOptions = {},
): void {
  const temporary = `${path}.tmp`;
  try {
    // A left-over may have another mode or be a link: never write through it.
    rmSync(temporary, { force: true });
    const descriptor = openSync(temporary, "wx", 0o600);
    try {
      const owner = keepsOwner ? ownerOf(path) : undefined;
      if (owner !== undefined) fchownSync(descriptor, owner.uid, owner.gid);
      writeFileSync(descriptor, content);
      fsyncSync(descriptor);
    } finally {
      closeSync(descriptor);
    }
    renameSync(temporary, path);
    syncDirectory(dirname(path));
  } catch (thrown) {
    throw new DeviceFileError(`cannot write ${path}: ${errorText(thrown)}`, { cause: thrown });
  }
}

/** The file's text, or `undefined` when there is no such file. @throws {DeviceFileError} */
export function readIfThere(path: string): string | undefined {
  try {
    return readFileSync(path, "utf8");
  } catch (thrown) {
    if (errorCode(thrown) === "ENOENT") return undefined;
    throw new DeviceFileError(`cannot read ${path}: ${errorText(thrown)}`, { cause: thrown });
  }
}
