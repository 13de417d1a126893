import { parseTarget, type Target } from "@postern/device/target";

import { UsageError } from "../errors.ts";

/**
 * Reads the address of a server as it stands on a command line.
 * @throws {UsageError} when it is none, or holds a password, which any user of the machine could read in the process list.
 */
export function targetOfUrl(text: string): {
  readonly target: Target;
  readonly username: string | undefined;
} {
  if (URL.canParse(text) && new URL(text).password !== "") {
    throw new UsageError(
      "--url holds a password, which every user of this machine can read in the process list: use --password-file or POSTERN_PASSWORD",
    );
  }
  const parsed = parseTarget(text);
  if (parsed.kind === "problem") throw new UsageError(parsed.problem);
  return parsed;
}
