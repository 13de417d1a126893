import assert from "node:assert/strict";
import { describe, it } from "node:test";

import { runOffline } from "./support/offline-run.ts";

describe("messages for clients that are away (the short run; the slow tests queue a million)", () => {
  it("wait on disk, survive a kill -9 and come in order", async (t) => {
    const report = await runOffline({ sessions: 5, shared: 5_000, own: 5_000, payloadBytes: 200 });
    t.diagnostic(JSON.stringify(report));
    assert.deepEqual(report.problems, []);
    assert.equal(report.queued, 50_000);
    assert.equal(report.queuedAfterKill, 50_000);
    assert.deepEqual(report.leftOver, {});
  });
});
