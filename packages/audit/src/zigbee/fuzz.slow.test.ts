import assert from "node:assert/strict";
import { describe, it } from "node:test";

import { fuzzAudit } from "../testing/fuzz.ts";

describe("a million mutated frames in mutated files of every format", () => {
  it("neither throw nor hang nor fill the memory", async (context) => {
    // What the engine takes for itself it takes with the first of them; a million more must find room in it.
    await fuzzAudit(300_000, 0xbeef);
    const before = process.memoryUsage().rss;
    const result = await fuzzAudit(1_000_000, 0xf00d);
    const grown = process.memoryUsage().rss - before;
    context.diagnostic(`${JSON.stringify(result)}, ${Math.round(grown / 1e6)} MB more`);
    assert.ok(result.frames > 500_000, `only ${result.frames} frames were read`);
    assert.ok(grown < 100e6, `memory grew by ${grown} bytes`);
  });
});
