import assert from "node:assert/strict";
import { describe, it } from "node:test";

import { runFuzz } from "./harness/fuzz-run.ts";

const seeds = [1, 2, 3, 4] as const;
const packetsPerSeed = 250_000;
/** What caches that are bounded may take: topic names above all. */
const growthBytesMax = 20_000_000;

describe("a million packets of clients that send anything at all", () => {
  for (const seed of seeds) {
    it(`neither stop the broker nor leave a trace (seed ${seed})`, async (t) => {
      const { packets, connections, heapBytes } = await runFuzz(seed, packetsPerSeed);
      t.diagnostic(`${packets} packets, ${connections} connections`);
      t.diagnostic(
        `heap after collection, MB: ${heapBytes.map((bytes) => (bytes / 1e6).toFixed(1)).join(" ")}`,
      );
      assert.ok(packets >= packetsPerSeed);
      const [, , settled = 0] = heapBytes;
      assert.ok((heapBytes.at(-1) ?? 0) - settled < growthBytesMax, "memory does not return to its plateau");
    });
  }
});
