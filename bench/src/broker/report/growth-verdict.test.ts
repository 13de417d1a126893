import assert from "node:assert/strict";
import { describe, it } from "node:test";

import { growthVerdict } from "./growth-verdict.ts";

describe("what is said of a curve", () => {
  const counts = [1_000, 10_000, 100_000, 1_000_000];

  it("is what the figures do from the second point on", () => {
    for (const [values, told] of [
      [[80, 28, 20, 27], "is flat"],
      [[80, 28, 20, 14], "falls"],
      [[3, 4, 5, 6], "is flat"],
      [[1, 1, 1.6, 1.9], "is logarithmic at the most"],
      [[1, 1, 10, 100], "grows: 100.0 times as much, for 100 times as many"],
      [[1, 1, 2, 4], "grows: 4.0 times as much, for 100 times as many"],
    ] as const)
      assert.equal(growthVerdict(counts, values), told);
  });

  it("is nothing when there are too few points", () => {
    assert.equal(growthVerdict([1, 10], [1, 10]), "has too few points to say");
  });
});
