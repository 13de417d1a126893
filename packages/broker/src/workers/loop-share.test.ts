import assert from "node:assert/strict";
import { describe, it } from "node:test";

import { LoopShare } from "./loop-share.ts";

describe("what a thread has to do", () => {
  it("is told as the share of the time since it was asked last", () => {
    let active = 0;
    let idle = 0;
    const share = new LoopShare(() => ({ active, idle, utilization: 0 }));
    active += 100;
    idle += 300;
    assert.equal(share.next(), 0.25);
    active += 300;
    idle += 100;
    assert.equal(share.next(), 0.75);
  });

  it("is nothing for a thread that has not come to run yet", () => {
    const none = { active: 0, idle: 0, utilization: 0 };
    assert.equal(new LoopShare(() => none).next(), 0);
  });
});
