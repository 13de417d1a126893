import assert from "node:assert/strict";
import { describe, it } from "node:test";

import * as fc from "fast-check";

import { covers, intersects } from "./filter-language.ts";
import { rightsOnAll, rightsOnAny } from "./filter-rights.ts";
import { RightsIndex } from "./rights-index.ts";
import type { BoundRule } from "./rules.ts";

const levels = (filter: string): string[] => filter.split("/");

const filter = fc
  .tuple(fc.array(fc.constantFrom("a", "b", "", "$s", "+", "+"), { maxLength: 4 }), fc.boolean())
  .map(([head, hash]) => [...head, ...(hash ? ["#"] : [])].join("/"))
  .filter((text) => text !== "");
const rule = fc.tuple(filter, fc.integer({ min: 1, max: 7 }));
/** Few and many: looked at one by one, and as a tree. */
const rules = fc.oneof(fc.array(rule, { maxLength: 6 }), fc.array(rule, { minLength: 17, maxLength: 40 }));

function bound([text, rights]: readonly [string, number]): BoundRule {
  const where = { role: "role", line: 1, filter: text, parts: [] };
  const made = { ...where, effect: "allow", rights, hasPlaceholders: false, perGroup: false } as const;
  return { rule: made, filter: text, levels: levels(text) };
}

/** Right by right, and rule by rule. */
function oneByOne(all: readonly BoundRule[], holds: (own: readonly BoundRule[]) => boolean): number {
  let rights = 0;
  for (const right of [1, 2, 4])
    if (holds(all.filter((own) => (own.rule.rights & right) !== 0))) rights |= right;
  return rights;
}

describe("the rights that rules name for a filter", () => {
  it("are those that inclusion and intersection of filters give, of few rules, of many, and of both", () => {
    const seen = { all: 0, any: 0 };
    fc.assert(
      fc.property(rules, rules, fc.array(filter, { minLength: 1, maxLength: 5 }), (shared, own, filters) => {
        const indices = [shared, own].map((list) => new RightsIndex(list.map(bound)));
        const all = [...shared, ...own].map(bound);
        for (const text of filters) {
          const asked = levels(text);
          const covered = oneByOne(all, (fit) =>
            covers(
              fit.map((each) => each.levels),
              asked,
            ),
          );
          const touched = oneByOne(all, (fit) => fit.some((each) => intersects(each.levels, asked)));
          if (covered !== 0) seen.all += 1;
          if (touched !== 7) seen.any += 1;
          assert.equal(rightsOnAll(indices, asked), covered, `all of ${text}`);
          assert.equal(rightsOnAny(indices, asked), touched, `any of ${text}`);
        }
      }),
      { numRuns: 3_000, seed: 3 },
    );
    assert.ok(seen.all > 500 && seen.any > 500, JSON.stringify(seen));
  });

  it("are found by looking at the rules that are like the filter alone", () => {
    const many = Array.from({ length: 20_000 }, (_, index) => bound([`r/${index}/x`, 1]));
    const indices = [new RightsIndex([...many, bound(["s/+/#", 2])])];
    const grants = many.map((each) => each.levels);
    const asked = Array.from({ length: 50 }, (_, round) => ["r", String(round), "x"]);
    assert.equal(rightsOnAll(indices, ["r", "0", "x"]) | rightsOnAny(indices, ["s", "#"]), 3);
    const found = millisecondsOf(() => {
      for (const filter of asked) {
        rightsOnAll(indices, filter);
        rightsOnAny(indices, ["r", "#"]);
      }
    });
    const lookedAt = millisecondsOf(() => {
      for (const filter of asked) covers(grants, filter);
    });
    assert.ok(found * 5 < lookedAt, `${found} ms, and ${lookedAt} ms when each rule is looked at`);
  });
});

function millisecondsOf(act: () => void): number {
  const startedMs = performance.now();
  act();
  return performance.now() - startedMs;
}
