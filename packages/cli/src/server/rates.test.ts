import assert from "node:assert/strict";
import { describe, it } from "node:test";

import { Rates } from "./rates.ts";

describe("rates of the last minute", () => {
  it("are a counter's growth per second, over a minute at the most", () => {
    let ms = 0;
    let count = 0;
    using rates = new Rates(() => ({ count }), { wallMs: () => 0, monotonicMs: () => ms });
    assert.deepEqual(rates.perSecond(), { count: 0 });
    const advance = (seconds: number, perSecond: number): void => {
      for (let step = 0; step < seconds / 5; step += 1) {
        ms += 5_000;
        count += perSecond * 5;
        rates.sample();
      }
    };
    advance(10, 100);
    assert.deepEqual(rates.perSecond(), { count: 100 });
    advance(30, 0);
    assert.deepEqual(rates.perSecond(), { count: 25 });
    advance(60, 2);
    assert.deepEqual(rates.perSecond(), { count: 2 });
    advance(3_600, 7);
    assert.deepEqual(rates.perSecond(), { count: 7 });
  });
});
