import assert from "node:assert/strict";
import { describe, it } from "node:test";

import { matchesFilter } from "@postern/mqtt/topics";
import * as fc from "fast-check";

import { RightsIndex } from "./rights-index.ts";
import type { BoundRule } from "./rules.ts";

const level = fc.constantFrom("a", "b", "", "$s", "x");
const topic = fc
  .array(level, { minLength: 1, maxLength: 5 })
  .map((levels) => levels.join("/"))
  .filter((text) => text !== "");
const filter = fc
  .tuple(fc.array(fc.oneof(level, fc.constant("+")), { maxLength: 4 }), fc.boolean())
  .map(([levels, hash]) => [...levels, ...(hash ? ["#"] : [])].join("/"))
  .filter((text) => text !== "");

function ruleOn(text: string, rights: number): BoundRule {
  const where = { role: "role", line: 1, filter: text, parts: [] };
  const rule = { ...where, effect: "allow", rights, hasPlaceholders: false, perGroup: false } as const;
  return { rule, filter: text, levels: text.split("/") };
}

describe("the rights that rules name for a topic", () => {
  it("are those of every filter that matches, of few rules and of many (MQTT 5.0 §4.7)", () => {
    const rules = fc.array(fc.tuple(filter, fc.integer({ min: 1, max: 4_095 })), { maxLength: 60 });
    fc.assert(
      fc.property(rules, fc.array(topic, { minLength: 1, maxLength: 20 }), (given, topics) => {
        const index = new RightsIndex(given.map(([text, rights]) => ruleOn(text, rights)));
        for (const text of topics) {
          const expected = given
            .filter(([own]) => matchesFilter(own, text))
            .reduce((sum, [, rights]) => sum | rights, 0);
          assert.equal(index.rightsOn(text), expected, text);
        }
      }),
      { numRuns: 2_000, seed: 1 },
    );
  });
});
