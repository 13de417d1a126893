import assert from "node:assert/strict";
import { describe, it } from "node:test";

import { isTopicFilter, parseSharedFilter } from "@postern/mqtt/topics";

import { filterProblem } from "./filter-problem.ts";

describe("topic filter's problem", () => {
  it("is none for legal filters (MQTT 5.0 §4.7.1, §4.8.2)", () => {
    const filters = [
      "#",
      "+",
      "a",
      "/",
      "a/#",
      "a/+/b",
      "+/+",
      "$SYS/#",
      "$share/g/#",
      "$share/g//",
      "$share/g/a/+",
    ];
    for (const filter of filters) assert.equal(filterProblem(filter), undefined, filter);
  });

  it("says why a filter is illegal, and proposes one level for a # in between (MQTT-4.7.1-1)", () => {
    const cases: readonly (readonly [filter: string, problem: RegExp])[] = [
      ["sensors/#/temperature", /can only be the last.*"sensors\/\+\/temperature"/],
      ["sensors#", /"#" must fill a whole level, and "sensors#"/],
      ["a/b+/c", /"\+" must fill a whole level, and "b\+"/],
      ["", /empty/],
      ["a\0", /U\+0000/],
      ["x".repeat(65_536), /65,535 bytes/],
      ["$share/", /group is missing/],
      ["$share//a", /group is missing/],
      ["$share/g", /filter after the group is missing/],
      ["$share/g/", /filter after the group is missing/],
      ["$share/g+/a", /group "g\+" has a wildcard/],
      ["$share/g/a/#/b", /can only be the last.*"a\/\+\/b"/],
    ];
    for (const [filter, problem] of cases) assert.match(filterProblem(filter) ?? "", problem, filter);
  });

  it("agrees with the codec on what is legal", () => {
    const parts = ["", "a", "+", "#", "a+", "$share", "g"];
    for (const first of parts) {
      for (const second of parts) {
        for (const third of parts) {
          const filter = [first, second, third].join("/");
          const shared = parseSharedFilter(filter);
          const legal = shared === undefined ? isTopicFilter(filter) : shared !== "invalid";
          assert.equal(filterProblem(filter) === undefined, legal, filter);
        }
      }
    }
  });
});
