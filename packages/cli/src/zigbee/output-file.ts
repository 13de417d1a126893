import { closeSync, fchmodSync, openSync, writeFileSync } from "node:fs";
import { resolve } from "node:path";

import { errorText } from "@postern/core/errors";

import { UsageError } from "../errors.ts";

/** Writes a file that the command line names, if it names one. Throws `UsageError` when that cannot be. */
export function writeOutput(
  file: string | undefined,
  cwd: string,
  content: () => Uint8Array | string,
  mode = 0o644,
): void {
  if (file === undefined) return;
  try {
    const descriptor = openSync(resolve(cwd, file), "w", mode);
    try {
      // A file that was there before keeps its mode, and this one holds keys.
      if (mode === 0o600) fchmodSync(descriptor, mode);
      writeFileSync(descriptor, content());
    } finally {
      closeSync(descriptor);
    }
  } catch (thrown) {
    throw new UsageError(`cannot write ${file}: ${errorText(thrown)}`, { cause: thrown });
  }
}
