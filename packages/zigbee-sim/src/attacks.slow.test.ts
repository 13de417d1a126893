import assert from "node:assert/strict";
import { describe, it } from "node:test";

import { attacks } from "./attack/attacks.ts";
import { summarizeAttack } from "./lab.ts";
import { precision, recall, scoreDetectors } from "./score/scores.ts";

/** What the defence takes away at least; where an attack can only be dodged, less. */
const preventedMin: Readonly<Record<string, number>> = {
  flooding: 0.6,
  jamming: 0.7,
  "traffic-analysis": 0.5,
  "broadcast-storm": 0.7,
  "pan-conflict": 0.7,
};

describe("every attack of the lab", () => {
  for (const attack of attacks) {
    it(`${attack.id} does harm, and its defence helps`, () => {
      const { conditions, prevented } = summarizeAttack(attack, [1, 2, 3]);
      assert.ok(conditions.attacked.harm.mean > conditions.calm.harm.mean);
      assert.ok(prevented >= (preventedMin[attack.id] ?? 0.9), `prevented ${prevented}`);
    });
  }
});

describe("the auditor on the lab's captures", () => {
  it("raises no false alarm and misses nothing", async () => {
    const scores = await scoreDetectors(attacks, [41, 42, 43]);
    assert.ok(scores !== undefined);
    assert.equal(scores.calmFalseAlarms, 0);
    for (const score of scores.rules) {
      assert.equal(precision(score), 1, `${score.rule}: precision`);
      assert.equal(recall(score), 1, `${score.rule}: recall`);
    }
  });
});
