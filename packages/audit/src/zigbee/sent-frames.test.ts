import assert from "node:assert/strict";
import { describe, it } from "node:test";

import * as fc from "fast-check";

import { type Sent, SentFrames, SlotBudget } from "./sent-frames.ts";

function sent(frame: number): Sent {
  return {
    frame,
    timeUs: 1.7e15 + frame,
    macSequence: frame & 0xff,
    bytes: 40,
    mic: 0xffff_0000 + (frame & 0xff),
  };
}

describe("SentFrames", () => {
  it("remembers 16,384 counters in a row, wherever they begin, and what stood there", () => {
    for (const first of [0, 29_000, 0xffff_0000]) {
      const frames = new SentFrames(new SlotBudget());
      for (let index = 0; index < 20_000; index++) frames.set(first + index, sent(index + 1));
      assert.deepEqual(frames.get(first + 19_999), sent(20_000));
      assert.deepEqual(frames.get(first + 20_000 - 16_384), sent(20_001 - 16_384));
      assert.equal(frames.get(first + 20_000 - 16_385), undefined);
      frames.clear();
      assert.equal(frames.get(first + 19_999), undefined);
    }
  });

  it("never gives a frame for a counter that was not its own", () => {
    fc.assert(
      fc.property(fc.array(fc.nat(2_000), { maxLength: 600 }), (counters) => {
        const frames = new SentFrames(new SlotBudget());
        const last = new Map<number, number>();
        for (const [index, counter] of counters.entries()) {
          frames.set(counter, sent(index + 1));
          last.set(counter, index + 1);
        }
        for (let counter = 0; counter <= 2_000; counter++) {
          const found = frames.get(counter)?.frame;
          assert.ok(found === undefined || found === last.get(counter));
        }
      }),
      { numRuns: 100 },
    );
  });

  it("stops growing when the budget is used up, and still remembers the last 256", () => {
    const budget = new SlotBudget();
    budget.left = 600;
    const frames = new SentFrames(budget);
    for (let index = 0; index < 2_000; index++) frames.set(index, sent(index + 1));
    assert.deepEqual(frames.get(1_999 - 255), sent(2_000 - 255));
    assert.ok(budget.left >= 0);
  });
});
