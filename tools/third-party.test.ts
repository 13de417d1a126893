import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, it } from "node:test";

import { licencesOf } from "./third-party.ts";

describe("licences of what is bundled", () => {
  let root = "";
  beforeEach(() => (root = mkdtempSync(join(tmpdir(), "postern-licences-"))));
  afterEach(() => rmSync(root, { recursive: true }));

  function install(folder: string, license: string, text?: string): void {
    const path = join(root, folder);
    mkdirSync(path, { recursive: true });
    writeFileSync(join(path, "package.json"), JSON.stringify({ name: folder, version: "1.2.3", license }));
    if (text !== undefined) writeFileSync(join(path, "LICENSE.md"), text);
  }

  it("are each given once, with the package's own text, nested and scoped packages too", () => {
    install("node_modules/a", "MIT", "text of a");
    install("node_modules/a/node_modules/@b/c", "ISC");
    const inputs = [
      "packages/x/src/x.ts",
      "node_modules/a/index.js",
      "node_modules/a/lib/a.js",
      "node_modules/a/node_modules/@b/c/c.js",
    ];
    const found = licencesOf(root, inputs);
    assert.deepEqual(found.match(/^.* 1\.2\.3 .*$/gm), [
      "node_modules/a 1.2.3 (MIT)",
      "node_modules/a/node_modules/@b/c 1.2.3 (ISC)",
    ]);
    assert.match(found, /text of a/);
  });

  it("stop the release when one does not permit it", () => {
    install("node_modules/a", "GPL-3.0-only");
    assert.throws(
      () => licencesOf(root, ["node_modules/a/index.js"]),
      /GPL-3\.0-only, which may not be bundled/,
    );
  });
});
