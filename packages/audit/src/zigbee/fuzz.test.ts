import assert from "node:assert/strict";
import { describe, it } from "node:test";

import { fuzzAudit } from "../testing/fuzz.ts";

describe("twenty thousand mutated frames in mutated files of every format", () => {
  it("are audited, watched and hunted in without an exception, and most can be read", async () => {
    const { frames, opened, findings, problems } = await fuzzAudit(20_000, 0x5eed);
    assert.ok(frames > 10_000, `only ${frames} frames were read`);
    assert.ok(opened > 1_000, `only ${opened} frames were opened`);
    assert.ok(findings > 100 && problems > 20);
  });
});
