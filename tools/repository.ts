import { globSync, readFileSync } from "node:fs";
import { join, resolve } from "node:path";

/** The root of the working tree, absolute. */
export const root = join(import.meta.dirname, "..");

/** A text file, by its path from the root or absolute. Throws what `readFileSync` throws. */
export function read(path: string): string {
  return readFileSync(resolve(root, path), "utf8");
}

/** Paths from the root that match any of `patterns`, sorted, without installed and generated folders. */
export function find(...patterns: readonly string[]): string[] {
  return globSync([...patterns], {
    cwd: root,
    exclude: ["**/node_modules/**", "dist/**", "**/postern-data/**"],
  }).sort();
}

/** The parts of a `package.json` that the checks read. */
export type Manifest = {
  readonly name: string;
  readonly version: string;
  /** Empty when there is none. */
  readonly description: string;
  readonly scripts: Readonly<Record<string, string>>;
  readonly dependencies: Readonly<Record<string, string>>;
  readonly devDependencies: Readonly<Record<string, string>>;
  readonly optionalDependencies: Readonly<Record<string, string>>;
};

/** The `package.json` at `path` (from the root or absolute), its absent tables empty. Throws `TypeError` when it is not one. */
export function manifestAt(path: string): Manifest {
  const value: unknown = JSON.parse(read(path));
  if (!isRecord(value) || typeof value["name"] !== "string" || typeof value["version"] !== "string") {
    throw new TypeError(`${path} has no name or no version`);
  }
  return {
    name: value["name"],
    version: value["version"],
    description: typeof value["description"] === "string" ? value["description"] : "",
    scripts: texts(value["scripts"]),
    dependencies: texts(value["dependencies"]),
    devDependencies: texts(value["devDependencies"]),
    optionalDependencies: texts(value["optionalDependencies"]),
  };
}

/** The folder names of the workspaces under `packages/`. */
export function packageFolders(): string[] {
  return find("packages/*/package.json").flatMap((path) => path.split("/")[1] ?? []);
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function texts(value: unknown): Record<string, string> {
  if (!isRecord(value)) return {};
  return Object.fromEntries(
    Object.entries(value).filter((entry): entry is [string, string] => typeof entry[1] === "string"),
  );
}
