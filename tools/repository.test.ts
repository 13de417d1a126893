import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { existsSync, readFileSync, statSync } from "node:fs";
import { hostname } from "node:os";
import { join } from "node:path";
import { describe, it } from "node:test";

import { find, manifestAt, packageFolders, read, root } from "./repository.ts";

/** Folders in which people and build machines keep checkouts: a path into one means nothing elsewhere. */
const homes = ["home", "Users", "root", "work", "workspace", "builds"];
const absolutePath = new RegExp(`(?<![\\w./~$})-])/(?:${homes.join("|")})/[\\w.-]+(?:/[\\w.-]+)+`);

/** What must not stand in `text`, or undefined. `ours` are the root, the host's name and the registry in use. */
function foreignWord(text: string, ours: readonly string[]): string | undefined {
  return ours.find((word) => text.includes(word)) ?? absolutePath.exec(text)?.[0];
}

function trackedFiles(): string[] {
  const listed = execFileSync("git", ["ls-files", "-z", "--cached", "--others", "--exclude-standard"], {
    cwd: root,
  });
  return listed
    .toString("utf8")
    .split("\0")
    .filter(
      (path) => path !== "" && statSync(join(root, path), { throwIfNoEntry: false })?.isFile() === true,
    );
}

/** Words that are true of this machine only. Short host names are ordinary words. */
function ownWords(): string[] {
  const registry = process.env["npm_config_registry"];
  const host = registry === undefined ? "" : new URL(registry).host;
  return [root, hostname().length > 8 ? hostname() : "", host === "registry.npmjs.org" ? "" : host].filter(
    (word) => word !== "",
  );
}

const notACheckout = existsSync(join(root, ".git")) ? false : "this is not a git checkout";

describe("the repository", () => {
  it("holds nothing that is true of one machine only", { skip: notACheckout }, () => {
    const words = ownWords();
    const found = trackedFiles().flatMap((path) => {
      const bytes = readFileSync(join(root, path));
      if (bytes.subarray(0, 8_192).includes(0)) return [];
      const word = foreignWord(bytes.toString("utf8"), words);
      return word === undefined ? [] : [`${path}: ${word}`];
    });
    assert.deepEqual(found, []);
  });

  it("does not say where its dependencies were downloaded from", () => {
    const resolved = [...read("package-lock.json").matchAll(/"resolved": "(.*)"/g)].map(
      ([, address]) => address,
    );
    assert.deepEqual(
      resolved.filter((address) => address?.includes(":") === true),
      [],
    );
  });

  it("has one version for all packages, which the changelog knows", () => {
    const paths = ["package.json", ...packageFolders().map((folder) => `packages/${folder}/package.json`)];
    const versions = new Set(paths.map((path) => manifestAt(path).version));
    assert.equal(versions.size, 1, [...versions].join(", "));
    assert.match(read("CHANGELOG.md"), /^## \[Unreleased\]$/m);
  });

  it("lets no install script run but the pinned runtime's", () => {
    const lock: unknown = JSON.parse(read("package-lock.json"));
    assert.ok(typeof lock === "object" && lock !== null && "packages" in lock);
    const withScripts = Object.entries(lock.packages ?? {}).flatMap(([path, entry]: [string, unknown]) =>
      typeof entry === "object" && entry !== null && "hasInstallScript" in entry
        ? [path.replace(/^.*node_modules\//, "")]
        : [],
    );
    const root: unknown = JSON.parse(read("package.json"));
    assert.ok(typeof root === "object" && root !== null && "allowScripts" in root);
    const wanted = withScripts.map((name) => [name, name === "node"]);
    assert.deepEqual(root.allowScripts, Object.fromEntries(wanted));
  });

  it("carries its licence in every package", () => {
    assert.match(read("LICENSE"), /Apache License\s+Version 2\.0, January 2004/);
    for (const path of ["package.json", ...find("packages/*/package.json")]) {
      assert.match(read(path), /"license": "Apache-2\.0"/, path);
    }
  });
});

describe("the search for words of one machine", () => {
  it("finds them and leaves other text alone", () => {
    const words = ["/srv/checkout", "registry.example"];
    const path = ["", homes[0], "somebody", "postern"].join("/");
    assert.equal(foreignWord(`see ${path}/x.ts`, []), `${path}/x.ts`);
    assert.equal(foreignWord("in /srv/checkout/x", words), "/srv/checkout");
    assert.equal(foreignWord("from https://registry.example/x", words), "registry.example");
    assert.equal(
      foreignWord("./home/a/b, my/home/a/b, https://x.example/home/a/b, /usr/lib/x, /tmp/a/b", words),
      undefined,
    );
  });
});
