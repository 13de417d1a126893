import assert from "node:assert/strict";
import { describe, it } from "node:test";

import type { Summary } from "./summary.ts";
import { latencyVerdict } from "./verdict.ts";

function summaryOf(peer: string, p99Microseconds: number, more: Summary["more"] = {}): Summary {
  return {
    scenario: "latency",
    peer,
    rounds: 3,
    generatorMicroseconds: 1,
    perSecond: 1_000,
    p99Microseconds,
    residentBytes: 0,
    lost: 0,
    more,
  };
}

describe("the verdict on latency", () => {
  it("holds 99 of 100 messages to a millisecond, and says how late they were sent", () => {
    assert.equal(latencyVerdict(summaryOf("postern", 900), []), "p99 within 1.00 ms");
    assert.equal(
      latencyVerdict(summaryOf("postern", 900, { lateP99Microseconds: 150 }), []),
      "p99 within 1.00 ms, of which it was sent up to 0.15 ms late",
    );
  });

  it("blames the server for what the relay does better, and the machine for what it does no better", () => {
    const ours = summaryOf("postern", 2_000);
    assert.equal(
      latencyVerdict(ours, [ours, summaryOf("relay", 300)]),
      "p99 above 1.00 ms, where the relay's is 0.30 ms",
    );
    assert.equal(
      latencyVerdict(ours, [ours, summaryOf("relay", 1_500)]),
      "p99 above 1.00 ms, as the relay's of 1.50 ms: the machine had other work",
    );
    const acknowledged = { ...ours, scenario: "latency-qos1" };
    assert.equal(
      latencyVerdict(acknowledged, [acknowledged, summaryOf("relay", 300)]),
      "p99 above 1.00 ms, where the relay's is 0.30 ms",
    );
    assert.equal(latencyVerdict(ours, [ours]), "p99 above 1.00 ms");
  });

  it("says nothing of scenarios that are not about it", () => {
    assert.equal(latencyVerdict({ ...summaryOf("postern", 2_000), scenario: "64-kb" }, []), "");
  });
});
