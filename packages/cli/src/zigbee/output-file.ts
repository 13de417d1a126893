import { writeFileSync } from "node:fs";
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
    writeFileSync(resolve(cwd, file), content(), { mode });
  } catch (thrown) {
    throw new UsageError(`cannot write ${file}: ${errorText(thrown)}`, { cause: thrown });
  }
}
