import assert from "node:assert/strict";
import { describe, it } from "node:test";

import { Keyring } from "@postern/seal/groups/keyring";

import { Rules } from "./rules.ts";

describe("topics that were those of a group", () => {
  it("stay closed, also where more groups came and went than are remembered", () => {
    const keyring = new Keyring({
      tenant: "plant",
      device: "pump",
      authorities: [],
      decryption: [],
      now: Date.now,
    });
    const formerly = Array.from({ length: 1_024 }, (_, index) => `old/${index}/#`);
    const rules = new Rules([], () => keyring, formerly);
    assert.equal(rules.demandOn("new/level"), undefined);
    const noted = rules.note(["new/#", "old/0/#"]);
    assert.equal(noted?.length, 1_024);
    assert.equal(rules.demandOn("new/level")?.mode, "encrypted");
    assert.equal(rules.demandOn("old/0/level")?.mode, "encrypted");
    assert.equal(rules.demandOn("old/1/level"), undefined);
    assert.equal(rules.note(["old/0/#"]), undefined);
  });
});
