import { accessSync, constants } from "node:fs";
import { join } from "node:path";

/** Where administrators' programs are, which is not on everybody's path. */
const systemDirectories = ["/usr/sbin", "/sbin", "/usr/bin", "/bin"];

/** The absolute path of a program; `undefined` when it is not installed. */
export function findProgram(
  name: string,
  env: Readonly<Record<string, string | undefined>>,
): string | undefined {
  const directories = [...(env["PATH"] ?? "").split(":"), ...systemDirectories];
  return directories
    .filter((directory) => directory.startsWith("/"))
    .map((directory) => join(directory, name))
    .find((path) => {
      try {
        accessSync(path, constants.X_OK);
        return true;
      } catch {
        return false;
      }
    });
}
