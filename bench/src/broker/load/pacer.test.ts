import assert from "node:assert/strict";
import { describe, it } from "node:test";

import { Pacer } from "./pacer.ts";

describe("a pacer", () => {
  it("calls back as often as the rate says, never early, and takes nearly no processor time", async () => {
    const { user, system } = process.cpuUsage();
    const beganMs = performance.now();
    const dues: number[] = [];
    let early = 0;
    const reached = Promise.withResolvers<void>();
    const pacer = await Pacer.start(1_000, (dueMs) => {
      dues.push(dueMs);
      if (performance.now() < dueMs) early += 1;
      if (dues.length === 400) reached.resolve();
    });
    await reached.promise;
    await pacer.stop();
    const tookMs = performance.now() - beganMs;
    assert.equal(early, 0);
    assert.ok(tookMs >= 399, `${tookMs} ms`);
    for (const [index, dueMs] of dues.entries())
      assert.ok(Math.abs(dueMs - (dues[0] ?? 0) - index) < 0.01, `turn ${index} was due at ${dueMs}`);
    const used = process.cpuUsage({ user, system });
    // Whoever looks at the clock all the time takes as long as it lasts.
    assert.ok(
      (used.user + used.system) / 1_000 < tookMs * 0.8,
      `${used.user + used.system} µs of ${tookMs} ms`,
    );
  });

  it("calls back no more when it has stopped", async () => {
    let calls = 0;
    const reached = Promise.withResolvers<void>();
    const pacer = await Pacer.start(2_000, () => {
      calls += 1;
      if (calls === 3) reached.resolve();
    });
    await reached.promise;
    await pacer.stop();
    const after = calls;
    await new Promise((resolve) => setTimeout(resolve, 20));
    assert.equal(calls, after);
  });
});
