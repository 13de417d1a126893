import assert from "node:assert/strict";
import { describe, it } from "node:test";

import { Histogram } from "./histogram.ts";

describe("Histogram", () => {
  it("knows each quantile to two percent", () => {
    const histogram = new Histogram();
    for (let value = 1; value <= 10_000; value += 1) histogram.record(value);
    for (const share of [0.01, 0.5, 0.99, 0.999]) {
      const found = histogram.quantile(share) ?? 0;
      assert.ok(Math.abs(found / (share * 10_000) - 1) < 0.02, `${share}: ${found}`);
    }
  });

  it("has no quantile of nothing", () => {
    const histogram = new Histogram();
    histogram.record(5);
    histogram.clear();
    assert.equal(histogram.quantile(0.5), undefined);
  });
});
