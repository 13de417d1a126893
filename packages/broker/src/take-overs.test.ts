import assert from "node:assert/strict";
import { describe, it } from "node:test";

import { TakeOvers } from "./take-overs.ts";

function clockAt(start: number) {
  let nowMs = start;
  return { wallMs: () => nowMs, monotonicMs: () => nowMs, advance: (ms: number) => void (nowMs += ms) };
}

describe("take-overs", () => {
  it("are allowed up to the limit in a minute, then refused for a minute, then allowed again", () => {
    const clock = clockAt(5_000);
    const takeOvers = new TakeOvers(3, clock);
    for (let count = 0; count < 3; count += 1) assert.ok(takeOvers.allow("a"));
    assert.ok(!takeOvers.allow("a"));
    clock.advance(59_999);
    assert.ok(!takeOvers.allow("a"));
    clock.advance(1);
    assert.ok(takeOvers.allow("a"));
  });

  it("of one client id do not count against another", () => {
    const takeOvers = new TakeOvers(1, clockAt(0));
    assert.ok(takeOvers.allow("a"));
    assert.ok(!takeOvers.allow("a"));
    assert.ok(takeOvers.allow("b"));
  });

  it("of a device that changes its network every ten seconds are always allowed", () => {
    const clock = clockAt(0);
    const takeOvers = new TakeOvers(10, clock);
    for (let count = 0; count < 1_000; count += 1) {
      assert.ok(takeOvers.allow("roaming"), `take-over ${count}`);
      clock.advance(10_000);
    }
  });

  it("are not limited by a limit of 0", () => {
    const takeOvers = new TakeOvers(0, clockAt(0));
    for (let count = 0; count < 1_000; count += 1) assert.ok(takeOvers.allow("a"));
  });

  it("of invented client ids push nobody's refusal out of memory before ten thousand have come", () => {
    const takeOvers = new TakeOvers(1, clockAt(0));
    takeOvers.allow("a");
    for (let count = 0; count < 9_998; count += 1) takeOvers.allow(`x${count}`);
    assert.ok(!takeOvers.allow("a"));
  });
});
