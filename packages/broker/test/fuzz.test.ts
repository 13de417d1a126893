import assert from "node:assert/strict";
import { describe, it } from "node:test";

import { runFuzz } from "./harness/fuzz-run.ts";

/** POSTERN_FUZZ_SEED repeats a failure, POSTERN_FUZZ_PACKETS makes the run as long as wanted. */
const seed = Number(process.env["POSTERN_FUZZ_SEED"] ?? 20_260_801);
const packetCount = Number(process.env["POSTERN_FUZZ_PACKETS"] ?? 40_000);

describe("clients that send anything at all", () => {
  it("neither stop the broker nor leave a trace, and honest clients get all they are owed", async (t) => {
    const report = await runFuzz(seed, packetCount);
    const { packets, connections, rounds, heapBytes } = report;
    t.diagnostic(`seed ${seed}: ${packets} packets, ${connections} connections, ${rounds} rounds`);
    t.diagnostic(
      `heap after collection, MB: ${heapBytes.map((bytes) => (bytes / 1e6).toFixed(1)).join(" ")}`,
    );
    assert.ok(packets >= packetCount);
  });
});
