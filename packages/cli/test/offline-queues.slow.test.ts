import assert from "node:assert/strict";
import { describe, it } from "node:test";

import { runOffline } from "./support/offline-run.ts";

const payloadBytes = 700;
/** What the server may need beyond its start, however much waits: caches, groups on their way to the disk, garbage. */
const workingBytesMax = 450_000_000;

describe("a million messages for clients that are away", () => {
  for (const { name, options } of [
    { name: "each for one of five", options: { sessions: 5, shared: 0, own: 200_000, payloadBytes } },
    { name: "each for all of twenty", options: { sessions: 20, shared: 50_000, own: 0, payloadBytes } },
  ]) {
    it(`wait on disk, survive a kill -9, and come in order; memory is bounded (${name})`, async (t) => {
      const report = await runOffline(options);
      t.diagnostic(JSON.stringify(report));
      const { memoryAtStart, peakWhileQueueing, peakWhileDraining, problems, leftOver } = report;
      assert.deepEqual(problems, []);
      assert.equal(report.queued, 1_000_000);
      assert.equal(report.queuedAfterKill, 1_000_000);
      assert.deepEqual(leftOver, {});
      const bound = memoryAtStart.anonymousBytes + workingBytesMax;
      assert.ok(peakWhileQueueing < bound, `${peakWhileQueueing} bytes while messages were queued`);
      assert.ok(peakWhileDraining < bound, `${peakWhileDraining} bytes while they were fetched`);
    });
  }
});
