import { existsSync } from "node:fs";
import { delimiter, join } from "node:path";

/** For `skip`: false when the program is there, otherwise the reason. */
export function skipWithout(program: string): string | false {
  const directories = (process.env["PATH"] ?? "").split(delimiter);
  return directories.some((directory) => existsSync(join(directory, program)))
    ? false
    : `${program} is not installed`;
}
