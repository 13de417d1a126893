import assert from "node:assert/strict";
import { describe, it } from "node:test";

import * as fc from "fast-check";

import { acceptCounter, judgeCounter, windowEntries, type ReplayState } from "./replay-window.ts";

describe("the replay window", () => {
  it("takes what is new, and what is late by less than 64, once", () => {
    let state: ReplayState | undefined;
    for (const counter of [100, 105, 104, 42, 200, 137]) {
      assert.equal(judgeCounter(state, counter), "fresh", `${counter}`);
      state = acceptCounter(state, counter);
    }
    assert.equal(judgeCounter(state, 200), "replayed");
    assert.equal(judgeCounter(state, 137), "replayed");
    assert.equal(judgeCounter(state, 138), "fresh");
    assert.equal(judgeCounter(state, 136), "too-old");
    assert.equal(judgeCounter(state, 201), "fresh");
  });

  it("never takes a counter twice, whatever the order, and none that fell out of it", () => {
    const counters = fc.array(fc.oneof(fc.nat(200), fc.maxSafeNat()), { maxLength: 100 });
    fc.assert(
      fc.property(counters, (list) => {
        const accepted = new Set<number>();
        let state: ReplayState | undefined;
        for (const counter of list) {
          const verdict = judgeCounter(state, counter);
          const highest = state?.highest ?? -Infinity;
          const expected =
            highest - counter >= windowEntries ? "too-old" : accepted.has(counter) ? "replayed" : "fresh";
          assert.equal(verdict, expected);
          if (verdict !== "fresh") continue;
          accepted.add(counter);
          state = acceptCounter(state, counter);
        }
      }),
    );
  });
});
