import assert from "node:assert/strict";
import { describe, it } from "node:test";

import { runCrashes } from "./harness/crash-run.ts";

/** POSTERN_CRASH_SEED and POSTERN_CRASHES choose another run, or a longer one. */
const seed = Number(process.env["POSTERN_CRASH_SEED"] ?? 8);
const crashes = Number(process.env["POSTERN_CRASHES"] ?? 25);

describe("a broker that loses everything but what is on disk", () => {
  it("has lost nothing it acknowledged, and doubles nothing at QoS 2, between whatever commits it crashes", async (t) => {
    const { messages, duplicates, problems } = await runCrashes(seed, crashes);
    t.diagnostic(`seed ${seed}: ${crashes} crashes, ${messages} messages, ${duplicates} came again at QoS 1`);
    assert.deepEqual(problems, []);
    assert.ok(messages > crashes * 20, "there was hardly any load");
  });
});
