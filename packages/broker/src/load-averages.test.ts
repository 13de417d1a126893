import assert from "node:assert/strict";
import { describe, it } from "node:test";

import { LoadAverages } from "./load-averages.ts";

describe("LoadAverages", () => {
  it("approaches a steady rate per minute, the short window first", () => {
    const loads = new LoadAverages(10_000);
    let last: Record<string, string> = {};
    for (let step = 1; step <= 30; step += 1) last = loads.update({ bytes: step * 100 });
    const [one, five, fifteen] = [1, 5, 15].map((minutes) => Number(last[`load/bytes/${minutes}min`]));
    assert.ok(one !== undefined && five !== undefined && fifteen !== undefined);
    assert.ok(one > 590 && one <= 600, `${one}`);
    assert.ok(five > 350 && five < one, `${five}`);
    assert.ok(fifteen > 150 && fifteen < five, `${fifteen}`);
  });
});
