import { execFile } from "node:child_process";
import { existsSync, globSync, mkdirSync, mkdtempSync, renameSync, rmSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";

const run = promisify(execFile);
const cache = fileURLToPath(new URL("../../../../node_modules/.cache/bench-peers", import.meta.url));

/**
 * Debian packages, unpacked into a directory of ours and not installed: what they would start or change stays as it is. Fetched once.
 * @throws when apt-get cannot fetch them.
 */
export async function unpacked(name: string, packages: readonly string[] = [name]): Promise<string> {
  const directory = join(cache, name);
  if (existsSync(directory)) return directory;
  mkdirSync(cache, { recursive: true });
  const scratch = mkdtempSync(join(cache, "fetching-"));
  try {
    await run("apt-get", ["download", "-o", "APT::Sandbox::User=root", ...packages], { cwd: scratch });
    const root = join(scratch, "root");
    for (const file of globSync("*.deb", { cwd: scratch }))
      await run("dpkg", ["-x", join(scratch, file), root]);
    renameSync(root, directory);
    return directory;
  } finally {
    rmSync(scratch, { recursive: true, force: true });
  }
}
