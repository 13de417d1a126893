import assert from "node:assert/strict";
import { mkdtempSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, it } from "node:test";

import { RememberedIdentities } from "./remembered-identities.ts";

function file(): Disposable & { readonly path: string } {
  const directory = mkdtempSync(join(tmpdir(), "postern-identities-"));
  return {
    path: join(directory, "identities.jsonl"),
    [Symbol.dispose]: () => rmSync(directory, { recursive: true, force: true }),
  };
}

describe("remembered identities", () => {
  it("know after a restart what was said last", () => {
    using made = file();
    const { path } = made;
    {
      using remembered = new RememberedIdentities(path);
      assert.equal(remembered.attributesOf("alice"), undefined);
      remembered.remember("alice", ["a"], ["g"]);
      remembered.remember("alice", ["b"], []);
      remembered.remember("__proto__", ["c"], []);
    }
    using again = new RememberedIdentities(path);
    assert.deepEqual(again.attributesOf("alice"), { roles: ["b"], groups: [], tenant: undefined });
    assert.deepEqual(again.attributesOf("__proto__")?.roles, ["c"]);
  });

  it("write nothing for what is known", () => {
    using made = file();
    const { path } = made;
    using remembered = new RememberedIdentities(path);
    remembered.remember("alice", ["a"], []);
    const before = statSync(path).size;
    for (let round = 0; round < 10; round += 1) remembered.remember("alice", ["a"], []);
    assert.equal(statSync(path).size, before);
  });

  it("refuse a file that is damaged", () => {
    using made = file();
    const { path } = made;
    writeFileSync(path, "nonsense\n", { mode: 0o600 });
    assert.throws(() => new RememberedIdentities(path), /the list of identities from outside, is damaged/);
  });
});
