import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { dirname, join } from "node:path";
import { describe, it } from "node:test";

import { defaultLimits, listenerLimitsSchema } from "../packages/broker/src/limits.ts";
import { errorClasses } from "./error-classes.ts";
import { parseMarkdown, type Document } from "./markdown.ts";
import { find, manifestAt, packageFolders, read, root } from "./repository.ts";

const documents = new Map(find("**/*.md").map((path) => [path, parseMarkdown(read(path))]));

function document(path: string): Document {
  const found = documents.get(path);
  assert.ok(found, `${path} is missing`);
  return found;
}

/** `` `name` `` without its backticks. */
function plain(cell: string | undefined): string {
  return (cell ?? "").replaceAll("`", "");
}

function productSources(): Map<string, string> {
  const paths = find("packages/*/src/**/*.ts").filter(
    (path) => !/\.test\.ts$|\/testing(\/|\.ts$)/.test(path),
  );
  return new Map(paths.map((path) => [path, read(path)]));
}

describe("docs/LIMITS.md", () => {
  const { rows } = document("docs/LIMITS.md");
  const under = (heading: string) => rows.filter((row) => row.heading === heading).map(({ cells }) => cells);
  const perListener = under("Per listener");
  const overall = under("Overall");
  const fixed = under("Fixed");

  it("names every limit with its default and no other", () => {
    const documented = [...perListener, ...overall].map(([name, value]) => `${plain(name)}: ${plain(value)}`);
    const actual = Object.entries(defaultLimits).map(([name, value]) => `${name}: ${grouped(value)}`);
    assert.deepEqual(documented.toSorted(), actual.toSorted());
  });

  it("says which limits a listener may have of its own", () => {
    const documented = perListener.map(([name]) => plain(name));
    assert.deepEqual(documented.toSorted(), Object.keys(listenerLimitsSchema.shape).toSorted());
  });

  it("names files that really look at the limit, and gives a reason", () => {
    for (const [name, , where, , reason] of [...perListener, ...overall]) {
      for (const path of plain(where).split(" ")) {
        assert.ok(read(`packages/broker/src/${path}`).includes(plain(name)), `${path} does not use ${name}`);
      }
      assert.ok((reason ?? "").length > 10, `${name} has no reason`);
    }
  });

  it("gives fixed limits the value that stands in the file it names", () => {
    assert.ok(fixed.length > 0);
    for (const [name, value, where] of fixed) {
      const found = new RegExp(`^(?:export )?const ${plain(name)} = ([\\d_]+);$`, "m").exec(
        read(plain(where)),
      );
      assert.ok(found, `${where} has no ${name}`);
      assert.equal(plain(value), grouped(Number(found[1]?.replaceAll("_", ""))), `${name} in ${where}`);
    }
  });
});

/** As the documents write numbers: `1,048,576`. */
function grouped(value: number | string): string {
  return typeof value === "number" ? value.toLocaleString("en") : value;
}

describe("docs/ERRORS.md", () => {
  it("lists the code and class of every error that is thrown on purpose, and no other", () => {
    const documented = document("docs/ERRORS.md").rows.map(
      ({ cells }) => `${plain(cells[0])} ${plain(cells[1])}`,
    );
    const actual = errorClasses(productSources()).map(({ code, name }) => `${code} ${name}`);
    assert.ok(actual.length > 0);
    assert.deepEqual(documented.toSorted(), actual.toSorted());
  });

  it("is sorted by code and gives no code to two classes", () => {
    const codes = document("docs/ERRORS.md").rows.map(({ cells }) => plain(cells[0]));
    assert.deepEqual(codes, [...new Set(codes)].toSorted());
  });
});

describe("the search for error classes", () => {
  it("finds direct and indirect subclasses with their own or inherited code, and nothing else", () => {
    const sources = new Map([
      [
        "a.ts",
        `export abstract class Middle extends PosternError {}\nclass Other extends Error { code = "NO" }`,
      ],
      [
        "b.ts",
        `class Leaf extends Middle { override readonly code = "LEAF" as const; }\nclass Sub extends Leaf {}`,
      ],
      ["c.ts", `class Silent extends PosternError { readonly code = compute(); }`],
    ]);
    assert.deepEqual(errorClasses(sources), [
      { name: "Leaf", path: "b.ts", code: "LEAF" },
      { name: "Silent", path: "c.ts", code: undefined },
      { name: "Sub", path: "b.ts", code: "LEAF" },
    ]);
  });
});

describe("docs/DEPENDENCIES.md", () => {
  it("lists every dependency with its exact version and the places that use it, and no other", () => {
    const places = new Map<string, string[]>();
    for (const [place, path] of [
      ["tools", "package.json"],
      ["bench", "bench/package.json"],
      ...packageFolders().map((folder) => [folder, `packages/${folder}/package.json`] as const),
    ] as const) {
      const { dependencies, devDependencies } = manifestAt(path);
      for (const [name, version] of Object.entries({ ...dependencies, ...devDependencies })) {
        if (name.startsWith("@postern/")) continue;
        assert.match(version, /^\d+\.\d+\.\d+$/, `${path} does not pin ${name}`);
        const key = `${name} ${version}`;
        places.set(key, [...(places.get(key) ?? []), place]);
      }
    }
    const actual = [...places].map(([key, users]) => `${key}: ${users.toSorted().join(", ")}`);
    const documented = document("docs/DEPENDENCIES.md").rows.map(({ cells: [name, version, where] }) => {
      const users = (where ?? "").split(",").map((user) => user.trim());
      return `${plain(name)} ${version}: ${users.toSorted().join(", ")}`;
    });
    assert.deepEqual(documented.toSorted(), actual.toSorted());
  });

  it("says of each what it saves us", () => {
    for (const { cells } of document("docs/DEPENDENCIES.md").rows) {
      assert.ok((cells[3] ?? "").length > 10, `${cells[0]} has no sentence`);
    }
  });
});

describe("Markdown files", () => {
  for (const [path, { links, code }] of documents) {
    it(`${path}: links and paths lead somewhere`, () => {
      for (const link of links.filter((target) => !/^[a-z]+:/.test(target))) {
        const [file, anchor] = link.split("#");
        const target = file === "" ? path : join(dirname(path), file ?? "");
        assert.ok(existsSync(join(root, target)), `${path} links to ${link}`);
        if (anchor !== undefined && target.endsWith(".md")) {
          assert.ok(
            document(target).anchors.has(anchor),
            `${path} links to ${link}, which has no such heading`,
          );
        }
      }
      for (const span of code) {
        const file = /^((packages|tools|docs|\.ci)\/[\w./-]+)$/.exec(span)?.[1];
        if (file !== undefined) assert.ok(existsSync(join(root, file)), `${path} names ${file}`);
      }
    });
  }
});

describe("the Markdown reader", () => {
  it("reads rows below their heading, links, anchors and fences", () => {
    const text = [
      "# One & two",
      "| `a` | b |",
      "|---|:-:|",
      "| `x\\|y` | [there](docs/A.md#part) |",
      "see `tools/x.ts` and [one](#one--two), not `[in code](x)`",
      "```sh run",
      "[not](a-link)",
      "```",
    ].join("\n");
    const { rows, links, anchors, code, fences } = parseMarkdown(text);
    assert.deepEqual(rows, [{ heading: "One & two", cells: ["`x|y`", "[there](docs/A.md#part)"] }]);
    assert.deepEqual(links, ["docs/A.md#part", "#one--two"]);
    assert.deepEqual([...anchors], ["one--two"]);
    assert.ok(code.includes("tools/x.ts"));
    assert.deepEqual(fences, [{ info: ["sh", "run"], text: "[not](a-link)", line: 6 }]);
  });
});
