import assert from "node:assert/strict";
import { describe, it } from "node:test";

import { TimerWheel, WheelTimer } from "./timer-wheel.ts";

function handClock() {
  const clock = { ms: 5_000_000, wallMs: () => clock.ms, monotonicMs: () => clock.ms };
  return clock;
}

function setUp() {
  const clock = handClock();
  const wheel = new TimerWheel(clock, false);
  const fired: number[] = [];
  const timer = new WheelTimer(() => fired.push(clock.ms));
  const pass = (ms: number) => {
    for (const end = clock.ms + ms; clock.ms < end;) {
      clock.ms += 50;
      wheel.advance();
    }
  };
  return { clock, wheel, fired, timer, pass };
}

describe("TimerWheel", () => {
  for (const delayMs of [0, 1, 100, 1_500, 102_300, 102_400, 102_500, 400_000]) {
    it(`fires a timer of ${delayMs} ms once, never early and at most two ticks late`, () => {
      const { clock, wheel, fired, timer, pass } = setUp();
      const dueMs = clock.ms + delayMs;
      wheel.set(timer, delayMs);
      pass(delayMs + 1_000);
      assert.equal(fired.length, 1);
      const late = (fired[0] ?? 0) - dueMs;
      assert.ok(late >= 0 && late <= 200, `${late} ms late`);
      pass(200_000);
      assert.equal(fired.length, 1);
    });
  }

  it("fires a timer that was moved later only at its new time", () => {
    const { clock, wheel, fired, timer, pass } = setUp();
    wheel.set(timer, 1_000);
    pass(900);
    wheel.set(timer, 1_000);
    const dueMs = clock.ms + 1_000;
    pass(900);
    assert.deepEqual(fired, []);
    pass(300);
    assert.equal(fired.length, 1);
    assert.ok((fired[0] ?? 0) >= dueMs);
  });

  it("fires a timer that was moved sooner at its new time", () => {
    const { wheel, fired, timer, pass } = setUp();
    wheel.set(timer, 60_000);
    wheel.set(timer, 500);
    pass(700);
    assert.equal(fired.length, 1);
  });

  it("does not fire a cleared timer, and takes it again", () => {
    const { wheel, fired, timer, pass } = setUp();
    wheel.set(timer, 500);
    wheel.clear(timer);
    pass(2_000);
    assert.deepEqual(fired, []);
    wheel.set(timer, 500);
    pass(700);
    assert.equal(fired.length, 1);
  });

  it("catches up after a long pause of the event loop", () => {
    const { clock, wheel, fired, timer } = setUp();
    wheel.set(timer, 30_000);
    clock.ms += 3_600_000;
    wheel.advance();
    assert.equal(fired.length, 1);
  });

  it("lets a timer set itself again from its own callback", () => {
    const { clock, wheel, pass } = setUp();
    let count = 0;
    const again: WheelTimer = new WheelTimer(() => {
      count += 1;
      wheel.set(again, 1_000);
    });
    wheel.set(again, 1_000);
    const startMs = clock.ms;
    pass(10_500);
    assert.ok(count >= 8 && count <= 10, `${count} times in ${clock.ms - startMs} ms`);
  });
});
