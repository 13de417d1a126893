import assert from "node:assert/strict";
import { describe, it } from "node:test";

import { type AuditReport } from "./audit.ts";
import { checkPractices } from "./checklist.ts";
import { zigbeeRules } from "./rules.ts";

const nothing: AuditReport = {
  frames: 0,
  damagedFrames: 0,
  malformedFrames: 0,
  securedFrames: 0,
  openedFrames: 0,
  durationUs: undefined,
  networks: [],
  keys: [],
  findings: [],
  hasWrongKeys: false,
  notes: [],
};

function verdicts(report: AuditReport, inventory = false): Record<string, string> {
  return Object.fromEntries(checkPractices(report, inventory).map(({ id, verdict }) => [id, verdict]));
}

describe("the checklist (thesis 6.7)", () => {
  it("knows nothing of an empty capture", () => {
    assert.deepEqual(new Set(Object.values(verdicts(nothing))), new Set(["not known"]));
  });

  it("takes what was seen for kept, and says what is missing to say more", () => {
    const report = { ...nothing, frames: 500, damagedFrames: 10, securedFrames: 90, openedFrames: 90 };
    const found = verdicts(report);
    assert.equal(found["frame-protection"], "met");
    assert.equal(found["interference"], "met");
    assert.equal(found["commercial-mode"], "not known");
    assert.equal(found["authorized-devices"], "not known");
    const noisy = verdicts({ ...report, damagedFrames: 200 });
    assert.equal(noisy["interference"], "not known");
  });

  it("takes a finding for a practice that is not kept, with its frames as evidence", () => {
    const finding = {
      id: "ZB-KEY-CLEAR",
      ...zigbeeRules["ZB-KEY-CLEAR"],
      confidence: "certain",
      subject: "network 0x1a62",
      summary: "1 Transport Key command without any protection",
      frames: [151],
      evidence: [],
      frameCount: 1,
    } as const;
    const checked = checkPractices({ ...nothing, frames: 9, findings: [finding] }, false);
    const failed = checked.find(({ verdict }) => verdict === "not met");
    assert.equal(failed?.id, "commercial-mode");
    assert.match(failed?.evidence ?? "", /^ZB-KEY-CLEAR at network 0x1a62: .*\(frames 151\)$/);
  });
});
