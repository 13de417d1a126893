import assert from "node:assert/strict";
import { mkdirSync, readFileSync, readdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, it } from "node:test";

import { isDataDirectory, openDataDirectory } from "./data-directory.ts";
import { DataDirectoryError, DataVersionError } from "./errors.ts";
import { temporaryDataDirectory } from "./testing.ts";

describe("data directory", () => {
  it("is made where there is nothing, with its parents, and known afterwards", () => {
    using temporary = temporaryDataDirectory();
    const path = join(temporary.directory.path, "a", "b");
    assert.equal(isDataDirectory(path), false);
    openDataDirectory(path);
    assert.equal(isDataDirectory(path), true);
    openDataDirectory(path);
  });

  it("is made around a configuration that is there already", () => {
    using temporary = temporaryDataDirectory();
    const { path } = temporary.directory;
    mkdirSync(path);
    writeFileSync(join(path, "postern.yaml"), "listeners: []\n");
    writeFileSync(join(path, ".gitkeep"), "");
    openDataDirectory(path);
    assert.equal(readFileSync(join(path, "postern.yaml"), "utf8"), "listeners: []\n");
  });

  it("is not made over other people's files, which stay as they are", () => {
    using temporary = temporaryDataDirectory();
    const { path } = temporary.directory;
    mkdirSync(path);
    writeFileSync(join(path, "thesis.doc"), "");
    assert.throws(
      () => openDataDirectory(path),
      (thrown) => thrown instanceof DataDirectoryError && /"thesis\.doc"/.test(thrown.message),
    );
    assert.deepEqual(readdirSync(path), ["thesis.doc"]);
  });

  it("cannot be a file, nor lie below one", () => {
    using temporary = temporaryDataDirectory();
    const { path } = temporary.directory;
    writeFileSync(path, "");
    assert.throws(() => openDataDirectory(path), /it is a file; choose another --data$/);
    assert.throws(() => openDataDirectory(join(path, "below")), DataDirectoryError);
  });

  it("is refused untouched when a newer version wrote it, or when its version is damaged", () => {
    using temporary = temporaryDataDirectory();
    const { path } = openDataDirectory(temporary.directory.path);
    writeFileSync(join(path, "version"), "2\n");
    assert.throws(
      () => openDataDirectory(path),
      (thrown) =>
        thrown instanceof DataVersionError && /data version 2, this one knows 1/.test(thrown.message),
    );
    for (const text of ["", "x", "0", "1.5"]) {
      writeFileSync(join(path, "version"), text);
      assert.throws(() => openDataDirectory(path), /version is damaged/, text);
    }
  });
});
