import assert from "node:assert/strict";
import { describe, it } from "node:test";

import { matchesFilter } from "@postern/mqtt/topics";
import * as fc from "fast-check";

import { covers, intersects } from "./filter-language.ts";

const levels = (filter: string): string[] => filter.split("/");
const covered = (grants: readonly string[], asked: string): boolean =>
  covers(grants.map(levels), levels(asked));

/** Names for levels: those that filters below use, one that none does ("z"), the empty one, and one of the server's own. */
const names = ["a", "b", "", "$s", "z"] as const;
const depthMax = 5;

/** Every topic of up to five levels over those names, but the empty one, which is none. */
const topics = Array.from({ length: depthMax }, (_, index) => index + 1).flatMap((depth) => {
  let made: string[] = [""];
  for (let level = 0; level < depth; level += 1)
    made = made.flatMap((start) => names.map((name) => (level === 0 ? name : `${start}/${name}`)));
  return made.filter((topic) => topic !== "");
});

/** Filters of up to three levels: two less than the topics, so that `#` is seen to go on. */
const filter = fc
  .record({
    head: fc.array(fc.constantFrom("a", "b", "", "$s", "+", "+"), { maxLength: 3 }),
    tail: fc.constantFrom("", "#"),
  })
  .map(({ head, tail }) => [...head, ...(tail === "#" ? ["#"] : [])].join("/"))
  .filter((text) => text !== "");

describe("inclusion of filters", () => {
  it("says what brute force over a small alphabet says, for one grant and for the union of several", () => {
    let yes = 0;
    fc.assert(
      fc.property(fc.array(filter, { maxLength: 5 }), filter, (grants, asked) => {
        const matched = topics.filter((topic) => matchesFilter(asked, topic));
        const expected = matched.every((topic) => grants.some((grant) => matchesFilter(grant, topic)));
        if (expected) yes += 1;
        assert.equal(covered(grants, asked), expected, `${asked} in ${grants.join(" ")}`);
      }),
      { numRuns: 4_000, seed: 1 },
    );
    assert.ok(yes > 400, `only ${yes} of the samples were inclusions`);
  });

  it("sees filters that only several grants cover together", () => {
    assert.ok(covered(["a", "a/+", "a/+/+/#"], "a/#"));
    assert.ok(!covered(["a/+", "a/+/+/#"], "a/#"), "nothing covers the topic a");
    assert.ok(!covered(["a", "a/+/+/#"], "a/#"), "nothing covers a/x");
    assert.ok(covered(["+/#"], "#") && covered(["#"], "+/#"));
    assert.ok(covered(["+", "+/+/#"], "#"));
  });

  it("refuses what is wider: CVE-like cases of `#`, `+` and the server's own topics", () => {
    for (const [grant, asked] of [
      ["a/b/#", "a/+/c"],
      ["a/b/#", "a/#"],
      ["tenant-a/#", "#"],
      ["tenant-a/#", "+/#"],
      ["tenant-a/#", "tenant-b/#"],
      ["a/+", "a/#"],
      ["a/+", "a/+/+"],
      ["a/b", "a/+"],
      ["#", "$SYS/#"],
      ["+/broker", "$SYS/broker"],
      ["+/#", "$SYS/broker/uptime"],
      ["a/#", "a#"],
    ] as const)
      assert.ok(!covered([grant], asked), `${asked} in ${grant}`);
    for (const [grant, asked] of [
      ["a/#", "a"],
      ["a/#", "a/+/c/#"],
      ["$SYS/#", "$SYS/broker/+"],
      ["a/+/c", "a/b/c"],
      ["+/+", "a/+"],
      ["/#", "/"],
    ] as const)
      assert.ok(covered([grant], asked), `${asked} in ${grant}`);
  });

  it("takes no longer for many levels and grants than their product", () => {
    const deep = Array.from({ length: 64 }, () => "+");
    const grants = Array.from({ length: 1_000 }, (_, index) => [...deep.slice(0, index % 64), "x"]);
    const startedMs = performance.now();
    for (let round = 0; round < 20; round += 1) assert.ok(!covers(grants, [...deep, "#"]));
    assert.ok(performance.now() - startedMs < 2_000);
  });
});

describe("intersection of filters", () => {
  it("says what brute force over a small alphabet says", () => {
    fc.assert(
      fc.property(filter, filter, (a, b) => {
        const expected = topics.some((topic) => matchesFilter(a, topic) && matchesFilter(b, topic));
        assert.equal(intersects(levels(a), levels(b)), expected, `${a} and ${b}`);
      }),
      { numRuns: 4_000, seed: 2 },
    );
  });
});
