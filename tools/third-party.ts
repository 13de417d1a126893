import { globSync, readFileSync } from "node:fs";
import { join } from "node:path";

/** Licences that let us put the code into a bundle under our own, as long as their text goes with it. */
const permitted = new Set([
  "0BSD",
  "Apache-2.0",
  "BSD-2-Clause",
  "BSD-3-Clause",
  "BlueOak-1.0.0",
  "ISC",
  "MIT",
]);

/**
 * The licences of all installed packages that `inputs` (paths from `root`) belong to, one after the other.
 * Throws `Error` for a package whose licence is not permitted.
 */
export function licencesOf(root: string, inputs: readonly string[]): string {
  const folders = new Set(inputs.flatMap((path) => packageFolderOf(path) ?? []));
  return [...folders]
    .sort()
    .map((folder) => licenceText(join(root, folder)))
    .join(`\n${"-".repeat(80)}\n\n`);
}

/** `node_modules/a/node_modules/@b/c` of a path below it, or undefined. */
function packageFolderOf(path: string): string | undefined {
  return /^(?:.*\/)?node_modules\/(?:@[^/]+\/)?[^/]+/.exec(path)?.[0];
}

function licenceText(folder: string): string {
  const manifest: unknown = JSON.parse(readFileSync(join(folder, "package.json"), "utf8"));
  const { name, version, license }: Record<string, unknown> = {
    ...(typeof manifest === "object" ? manifest : {}),
  };
  if (typeof license !== "string" || !permitted.has(license)) {
    throw new Error(`${folder} has the licence ${String(license)}, which may not be bundled`);
  }
  const [file] = globSync("{LICEN[CS]E,licen[cs]e}*", { cwd: folder });
  const text =
    file === undefined ? "The package has no licence file." : readFileSync(join(folder, file), "utf8").trim();
  return `${String(name)} ${String(version)} (${license})\n\n${text}\n`;
}
