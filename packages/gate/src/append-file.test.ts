import assert from "node:assert/strict";
import { readdirSync, readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { describe, it } from "node:test";

import { AppendFile } from "./append-file.ts";
import { temporaryDirectory } from "./testing/test-gate.ts";

describe("a file that is appended to", () => {
  it("has at once, for every other process, what was appended", async () => {
    using directory = temporaryDirectory();
    const path = join(directory.path, "lines");
    await using file = new AppendFile(path, "first\n");
    file.append("second\n");
    file.append("third\n");
    assert.equal(readFileSync(path, "utf8"), "first\nsecond\nthird\n");
    assert.equal(statSync(path).mode & 0o777, 0o600);
    await Promise.all([file.sync(), file.sync()]);
    await file.sync();
  });

  it("is replaced while it grows, and loses nothing that was appended meanwhile", async () => {
    using directory = temporaryDirectory();
    const path = join(directory.path, "lines");
    await using file = new AppendFile(path, "old\n");
    let appended = 0;
    const isReplaced = { yet: false };
    function* lines(): Generator<string> {
      for (let index = 0; index < appended; index++) yield `more ${index}\n`;
      for (let index = 0; index < 5_000; index++) yield `line ${index}\n`;
    }
    const replaced = file.replace(lines()).finally(() => (isReplaced.yet = true));
    while (!isReplaced.yet) {
      file.append(`more ${appended++}\n`);
      await new Promise((resolve) => setImmediate(resolve));
    }
    await replaced;
    file.append("last\n");
    await file.sync();
    const found = readFileSync(path, "utf8").trimEnd().split("\n");
    assert.deepEqual(
      found.filter((line) => line.startsWith("line ")),
      Array.from({ length: 5_000 }, (_, index) => `line ${index}`),
    );
    assert.deepEqual(
      found.filter((line) => line.startsWith("more ")),
      Array.from({ length: appended }, (_, index) => `more ${index}`),
    );
    assert.equal(found.at(-1), "last");
    assert.ok(!found.includes("old"));
    assert.deepEqual(readdirSync(directory.path), ["lines"]);
  });

  it("stays as it is when it cannot be replaced", async () => {
    using directory = temporaryDirectory();
    const path = join(directory.path, "lines");
    await using file = new AppendFile(path, "old\n");
    const failing = {
      *[Symbol.iterator](): Generator<string> {
        yield "new\n";
        throw new Error("no more lines");
      },
    };
    await assert.rejects(file.replace(failing), { code: "GATE_STATE" });
    file.append("more\n");
    await file.sync();
    assert.equal(readFileSync(path, "utf8"), "old\nmore\n");
  });
});
