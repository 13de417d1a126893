import assert from "node:assert/strict";
import { describe, it } from "node:test";

import { layerViolations, type Layer, type PackageSources } from "./layers.ts";
import { find, manifestAt, packageFolders, read } from "./repository.ts";

/** No sockets, no files, no processes, no timers: bytes in, values out. */
const pureBuiltins: Layer["builtins"] = {
  "assert/strict": "everything",
  buffer: "everything",
  crypto: "everything",
  net: ["isIP", "isIPv4", "isIPv6"],
  util: "everything",
};

/** From top to bottom; a package may use only what stands below it. A new edge is a line here and a reason in the commit. */
const layerTable: Readonly<Record<string, Layer>> = {
  cli: {
    ours: [
      "device",
      "zigbee-sim",
      "audit",
      "broker",
      "gate",
      "store",
      "identity",
      "seal",
      "mqtt",
      "knock",
      "pki",
      "zigbee",
      "core",
    ],
  },
  device: { ours: ["seal", "mqtt", "knock", "pki", "core"] },
  "zigbee-sim": { ours: ["audit", "zigbee"], builtins: pureBuiltins },
  audit: { ours: ["zigbee"], builtins: pureBuiltins },
  broker: { ours: ["mqtt", "core"] },
  gate: { ours: ["knock", "core"] },
  store: { ours: ["core"] },
  identity: { ours: ["seal", "mqtt", "pki", "core"] },
  seal: { ours: ["mqtt"], builtins: pureBuiltins },
  mqtt: { ours: ["core"], builtins: pureBuiltins },
  knock: { ours: [], builtins: pureBuiltins },
  pki: { ours: [], builtins: pureBuiltins },
  zigbee: { ours: [], builtins: pureBuiltins },
  core: { ours: [], builtins: pureBuiltins },
};

describe("the layers of the packages", () => {
  it("are those of the layer table", () => {
    const packages = packageFolders().map((folder): PackageSources => {
      const home = `packages/${folder}`;
      const paths = find(`${home}/{src,test}/**/*.ts`);
      return {
        folder,
        manifest: manifestAt(`${home}/package.json`),
        files: new Map(paths.map((path) => [path.slice(home.length + 1), read(path)])),
      };
    });
    assert.ok(packages.every(({ files }) => files.size > 0));
    const shared = Object.keys(manifestAt("package.json").devDependencies);
    assert.deepEqual(layerViolations(layerTable, packages, shared), []);
  });
});

describe("the layer check", () => {
  const table: Readonly<Record<string, Layer>> = {
    top: { ours: ["low"] },
    side: { ours: [] },
    low: { ours: [], builtins: { crypto: "everything", net: ["isIP"] } },
  };

  function check(path: string, source: string, folder = "top"): string[] {
    const packages = Object.keys(table).map((name): PackageSources => ({
      folder: name,
      manifest: {
        dependencies: name === "top" ? { "@postern/low": "0.1.0", "@scope/lib": "1.0.0" } : {},
        devDependencies: name === "top" ? { "@postern/side": "0.1.0", oracle: "1.0.0" } : {},
      },
      files: new Map(name === folder ? [[path, source]] : []),
    }));
    return layerViolations(table, packages, ["@types/node", "shared-tool"]);
  }

  it("lets through what the table and the package.json allow", () => {
    const product = [
      `import { a } from "@postern/low/a";`,
      `export * from "@postern/low/deep/b";`,
      `import type { T } from "@scope/lib/types";`,
      `import { readFile } from "node:fs/promises";`,
      `const later = await import("./other.ts");`,
    ].join("\n");
    assert.deepEqual(check("src/a.ts", product), []);
    const pure = `import { hash } from "node:crypto";\nimport { isIP } from "node:net";`;
    assert.deepEqual(check("src/a.ts", pure, "low"), []);
  });

  it("lets tests use what stands below, development dependencies and fakes", () => {
    const test = [
      `import { fake } from "@postern/side/testing";`,
      `import oracle from "oracle";`,
      `import "shared-tool";`,
      `import { helper } from "../src/testing.ts";`,
    ].join("\n");
    assert.deepEqual(check("test/a.test.ts", test), []);
  });

  const refused: readonly [name: string, path: string, source: string, folder?: string][] = [
    ["a package that the layer may not use", "src/a.ts", `import { a } from "@postern/side/a";`],
    ["a type from such a package", "src/a.ts", `import type { A } from "@postern/side/a";`],
    ["a re-export from such a package", "src/a.ts", `export { a } from "@postern/side/a";`],
    ["an import() of such a package", "src/a.ts", `const a = await import("@postern/side/a");`],
    ["a package above, even in a test", "src/a.test.ts", `import "@postern/top/a";`, "low"],
    ["an own package that is not declared", "src/a.test.ts", `import "@postern/low/a";`, "side"],
    ["a package without a file", "src/a.ts", `import "@postern/low";`],
    ["a path into a package's src", "src/a.ts", `import "@postern/low/src/a.ts";`],
    ["a relative path into another package", "src/a.ts", `import "../../low/src/a.ts";`],
    ["a fake in product code", "src/a.ts", `import "@postern/low/testing";`],
    ["a test's helper in product code", "src/deep/a.ts", `import "../testing.ts";`],
    ["a development dependency in product code", "src/a.ts", `import oracle from "oracle";`],
    ["a dependency that is not declared", "src/a.ts", `import { z } from "zod";`],
    ["sockets in a pure package", "src/a.ts", `import { connect, isIP } from "node:net";`, "low"],
    ["all of node:net in a pure package", "src/a.ts", `import * as net from "node:net";`, "low"],
    ["files in a pure package", "src/a.ts", `import { open } from "node:fs/promises";`, "low"],
    ["a module of the runtime without node:", "src/a.ts", `import fs from "fs";`],
    ["a computed module name", "src/a.ts", `const a = await import(name);`],
    ["an absolute path", "src/a.ts", `import "/opt/a.ts";`],
  ];
  for (const [name, path, source, folder] of refused) {
    it(`refuses ${name}`, () => {
      const found = check(path, `// first line\n${source}\n`, folder);
      assert.equal(found.length, 1, found.join("\n"));
      assert.match(found[0] ?? "", new RegExp(`^packages/${folder ?? "top"}/${path}:2: imports `));
    });
  }

  it("refuses a package.json that depends on a package its layer may not use", () => {
    const packages: PackageSources[] = Object.keys(table).map((folder) => ({
      folder,
      manifest: { dependencies: folder === "low" ? { "@postern/side": "0.1.0" } : {}, devDependencies: {} },
      files: new Map(),
    }));
    assert.deepEqual(layerViolations(table, packages, []), [
      "packages/low/package.json: depends on @postern/side, which its layer may not use",
    ]);
  });

  it("refuses a table that points up, that misses a package, or that names one too many", () => {
    const upward: Readonly<Record<string, Layer>> = { low: { ours: [] }, top: { ours: ["low"] } };
    const packages = ["top", "other"].map((folder): PackageSources => ({
      folder,
      manifest: { dependencies: {}, devDependencies: {} },
      files: new Map(),
    }));
    assert.deepEqual(layerViolations(upward, packages, []), [
      "packages/other has no line in the layer table",
      "the layer table names low, but packages/low is not there",
      "the layer table lets top use low, which does not stand below it",
    ]);
  });
});
