import assert from "node:assert/strict";
import { describe, it } from "node:test";

import { hasShare, type QueueBytes, type QueueShares } from "./queue-share.ts";

const totalBytesMax = 1_000;

function shares(totalBytes: number): QueueShares {
  return { totalBytes, totalBytesMax, others: 5 };
}

function holds(held: number, before = held): QueueBytes {
  return { held, before };
}

describe("the last quarter of what all queues may hold", () => {
  it("is for queues that hold no more than their even part of it", () => {
    assert.ok(hasShare(shares(750), holds(0), 50));
    assert.ok(hasShare(shares(940), holds(20), 30));
    assert.ok(!hasShare(shares(750), holds(0), 51));
    assert.ok(!hasShare(shares(940), holds(21), 30));
  });

  it("is for whoever comes when nothing waits for others", () => {
    assert.ok(hasShare({ ...shares(900), others: 0 }, holds(900), 100));
  });

  it("lets a queue that holds more have its newest for its oldest, and nothing beyond", () => {
    assert.ok(!hasShare(shares(900), holds(400), 10));
    assert.ok(hasShare(shares(890), holds(390, 400), 10));
    assert.ok(!hasShare(shares(890), holds(390, 400), 11));
  });

  it("is full at the end", () => {
    assert.ok(hasShare(shares(999), holds(0), 1));
    assert.ok(!hasShare(shares(1_000), holds(0), 1));
    assert.ok(!hasShare(shares(1_000), holds(999, 1_000), 1));
    assert.ok(hasShare(shares(700), holds(700), 50));
  });
});
