import assert from "node:assert/strict";
import { describe, it } from "node:test";

import { attacks } from "./attack/attacks.ts";
import { type Attack } from "./attack/attack.ts";
import { estimate, labRun, summarizeAttack } from "./lab.ts";
import { recordingPcap } from "./recording.ts";
import { labHtml, labText } from "./lab-report.ts";

function attack(id: string): Attack {
  const found = attacks.find((other) => other.id === id);
  assert.ok(found !== undefined);
  return found;
}

/** Those that are over in a moment; all of them run in attacks.slow.test.ts. */
const quick = ["key-in-clear", "maximum-counter", "association-flood", "trap-network", "replay"];

describe("the lab", () => {
  for (const id of quick) {
    it(`shows that ${id} does harm, and that its defence takes it away`, () => {
      const { conditions, prevented } = summarizeAttack(attack(id), [1]);
      assert.ok(conditions.attacked.harm.mean > conditions.calm.harm.mean);
      assert.ok(prevented > 0.9, `prevented ${prevented}`);
    });
  }

  it("records the same frames with an attacker who only listens as without one: no rule can find it", () => {
    const [calm, attacked] = (["calm", "attacked"] as const).map((condition) =>
      recordingPcap(labRun(attack("traffic-analysis"), condition, 7).simulation.frames),
    );
    assert.deepEqual(attacked, calm);
    assert.ok((calm?.length ?? 0) > 10_000);
  });

  it("gives for one seed always the same", () => {
    const texts = [1, 2].map(() => labText([summarizeAttack(attack("replay"), [3])]));
    assert.equal(texts[0], texts[1]);
  });

  it("says in text and on a page what was counted, and what the defence bought", () => {
    const summaries = [summarizeAttack(attack("key-in-clear"), [1, 2])];
    const text = labText(summaries);
    assert.match(text, /^key-in-clear: [^]*harm +data frames that the attacker reads, %/);
    assert.match(text, /100 % of the harm prevented[^]*\n {2}attack +100\.0 ± 0\.0 [^]*means of 2 seeds/);
    const page = labHtml(summaries);
    assert.match(page, /<a href="#key-in-clear">[^]*<svg/);
    assert.ok(!page.includes("<script") && !page.includes("undefined") && !page.includes("NaN"));
  });
});

describe("an estimate", () => {
  it("has the half width of a 95 % confidence interval (Student's t)", () => {
    const { mean, halfWidth } = estimate([1, 2, 3, 4, 5]);
    assert.equal(mean, 3);
    assert.ok(Math.abs(halfWidth - 1.963) < 0.01, String(halfWidth));
    assert.ok(Number.isNaN(estimate([1]).halfWidth));
    assert.ok(Number.isNaN(estimate([Number.NaN]).mean));
    assert.equal(estimate([Number.NaN, 4]).mean, 4);
  });
});
