import assert from "node:assert/strict";
import { describe, it } from "node:test";

import { runCrashes } from "./harness/crash-run.ts";

const crashes = 150;

describe("a broker that loses everything but what is on disk, a thousand times", () => {
  for (const seed of [1, 2, 3, 4, 5, 6, 7]) {
    it(`has lost nothing it acknowledged, and doubles nothing at QoS 2 (seed ${seed})`, async (t) => {
      const { messages, duplicates, problems } = await runCrashes(seed, crashes);
      t.diagnostic(`${crashes} crashes, ${messages} messages, ${duplicates} came again at QoS 1`);
      assert.deepEqual(problems, []);
    });
  }
});
