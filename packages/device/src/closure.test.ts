import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { describe, it } from "node:test";

interface Manifest {
  readonly dependencies?: Readonly<Record<string, string>>;
}

function isManifest(value: unknown): value is Manifest {
  return typeof value === "object" && value !== null;
}

function manifest(path: string): Manifest {
  const value: unknown = JSON.parse(readFileSync(path, "utf8"));
  assert.ok(isManifest(value));
  return value;
}

/** The package.json of a package as it is found from another one. */
function manifestOf(name: string, from: string): string {
  for (const directory of createRequire(from).resolve.paths("any-package") ?? []) {
    const path = join(directory, name, "package.json");
    try {
      readFileSync(path);
      return path;
    } catch {
      // It stands in another directory above.
    }
  }
  return assert.fail(`${name} is not installed for ${from}`);
}

describe("what comes along with the library", () => {
  it("has no database, no HTTP server and no native code of ours", () => {
    const names = new Set<string>();
    const visit = (path: string): void => {
      for (const name of Object.keys(manifest(path).dependencies ?? {})) {
        if (names.has(name)) continue;
        names.add(name);
        visit(manifestOf(name, join(dirname(path), "index.js")));
      }
    };
    visit(new URL("../package.json", import.meta.url).pathname);
    assert.ok(names.has("mqtt") && names.has("@postern/knock"));
    for (const unwanted of [
      "lmdb",
      "fastify",
      "koffi",
      "pino",
      "prom-client",
      "@postern/broker",
      "@postern/store",
    ]) {
      assert.ok(!names.has(unwanted), `${unwanted} comes along: ${[...names].join(", ")}`);
    }
  });
});
