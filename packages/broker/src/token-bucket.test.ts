import assert from "node:assert/strict";
import { describe, it } from "node:test";

import { TokenBucket } from "./token-bucket.ts";

describe("TokenBucket", () => {
  it("allows a burst of one second and then says how long to wait", () => {
    const bucket = new TokenBucket(100, 0);
    assert.equal(bucket.take(100, 0), 0);
    assert.equal(bucket.take(50, 0), 500);
    assert.equal(bucket.take(0, 500), 0);
  });

  it("keeps to its rate in the long run", () => {
    const bucket = new TokenBucket(1_000, 0);
    let nowMs = 0;
    let taken = 0;
    while (nowMs < 60_000) {
      taken += 10;
      nowMs += Math.max(1, bucket.take(10, nowMs));
    }
    assert.ok(taken >= 59_000 && taken <= 62_000, `${taken} in a minute`);
  });

  it("limits nothing with a rate of 0", () => {
    const bucket = new TokenBucket(0, 0);
    assert.equal(bucket.take(1e9, 0), 0);
    assert.equal(bucket.take(1e9, 0), 0);
  });
});
