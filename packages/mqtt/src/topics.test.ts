import assert from "node:assert/strict";
import { describe, it } from "node:test";

import * as fc from "fast-check";

import {
  isSharedFilter,
  isTopicFilter,
  isTopicName,
  matchesFilter,
  parseSharedFilter,
  topicLevelCount,
} from "./topics.ts";

describe("topic names (MQTT 5.0 §4.7)", () => {
  for (const name of [
    "a",
    "/",
    "//",
    "/finance",
    "a b",
    "$SYS/broker",
    "Accounts payable",
    "ä/ö",
    "a".repeat(65_535),
  ]) {
    it(`${name.slice(0, 20)} is one`, () => assert.equal(isTopicName(name), true));
  }
  for (const name of ["", "+", "#", "a/+", "a#", "sport+", "a\0b", "a".repeat(65_536), "ä".repeat(32_768)]) {
    it(`${JSON.stringify(name.slice(0, 20))} of length ${name.length} is none`, () => {
      assert.equal(isTopicName(name), false);
    });
  }
  it("counts bytes, not characters, up to 65,535 [MQTT-4.7.3-3]", () => {
    assert.equal(isTopicName("ä".repeat(32_767)), true);
    assert.equal(isTopicName(`${"ä".repeat(32_767)}a`), true);
    assert.equal(isTopicName(`${"ä".repeat(32_767)}aa`), false);
    assert.equal(isTopicName("€".repeat(21_845)), true);
    assert.equal(isTopicName("€".repeat(21_846)), false);
  });
});

describe("topic filters (MQTT 5.0 §4.7.1)", () => {
  const legal = [
    "a",
    "/",
    "#",
    "+",
    "+/",
    "/+",
    "/#",
    "a/#",
    "a/+/b",
    "+/tennis/#",
    "sport/+/player1",
    "+/+",
    "$SYS/#",
    "/+/#",
  ];
  for (const filter of legal) it(`${filter} is legal`, () => assert.equal(isTopicFilter(filter), true));

  const illegal = [
    "",
    "sport/tennis#",
    "sport/tennis/#/ranking",
    "sensors/#/temperature",
    "#/",
    "##",
    "#/a",
    "a#",
    "+a",
    "a+",
    "sport+",
    "sport/+a/b",
    "a/b+/c",
    "++",
    "+#",
    "#+",
    "a/\0",
    "a".repeat(65_536),
  ];
  for (const filter of illegal) {
    it(`${JSON.stringify(filter.slice(0, 24))} is not [MQTT-4.7.1-1] [MQTT-4.7.1-2]`, () => {
      assert.equal(isTopicFilter(filter), false);
    });
  }
});

describe("topic levels", () => {
  for (const [text, count] of [
    ["", 1],
    ["a", 1],
    ["a/b", 2],
    ["/", 2],
    ["//", 3],
    ["/a/", 3],
  ] as const) {
    it(`${JSON.stringify(text)} has ${count}`, () => assert.equal(topicLevelCount(text), count));
  }
});

/** Filter, the topics it matches, the topics it does not match: the examples of the specification, and edges. */
const matches: readonly (readonly [filter: string, yes: readonly string[], no: readonly string[]])[] = [
  [
    "sport/tennis/player1/#",
    ["sport/tennis/player1", "sport/tennis/player1/ranking", "sport/tennis/player1/score/wimbledon"],
    ["sport/tennis/player2", "sport/tennis/player10"],
  ],
  ["sport/#", ["sport", "sport/", "sport/a/b"], ["sports", "spor", "/sport"]],
  ["#", ["a", "/", "/a", "a/b/c"], ["$SYS", "$SYS/broker", "$"]],
  [
    "sport/tennis/+",
    ["sport/tennis/player1", "sport/tennis/"],
    ["sport/tennis", "sport/tennis/player1/ranking"],
  ],
  ["sport/+", ["sport/"], ["sport"]],
  ["+", ["finance"], ["/finance", "a/b", "$SYS"]],
  ["+/+", ["/finance", "a/b", "/"], ["finance", "a/b/c"]],
  ["/+", ["/finance"], ["finance", "/a/b"]],
  ["+/monitor/Clients", ["a/monitor/Clients"], ["$SYS/monitor/Clients"]],
  ["$SYS/#", ["$SYS", "$SYS/", "$SYS/a/b"], ["a", "$SY", "$SYSX"]],
  ["$SYS/monitor/+", ["$SYS/monitor/Clients"], ["$SYS/monitor"]],
  ["+/#", ["a", "a/b", "/"], ["$SYS", "$SYS/a"]],
  ["+/+/#", ["a/b", "a/b/c", "/"], ["a"]],
  ["/#", ["/", "/a"], ["a"]],
  ["a/+/c", ["a/b/c", "a//c", "a/$b/c"], ["a/c", "a/b/c/d", "a/b"]],
  ["a", ["a"], ["A", "a/", "ab", "/a"]],
  ["a/b", ["a/b"], ["a", "a/", "a/bc"]],
  ["ACCOUNTS", ["ACCOUNTS"], ["Accounts"]],
  ["a/$b", ["a/$b"], ["a/b"]],
];

describe("matching (MQTT 5.0 §4.7.1, §4.7.2, §4.7.3)", () => {
  for (const [filter, yes, no] of matches) {
    for (const topic of yes)
      it(`${filter} matches ${topic}`, () => assert.equal(matchesFilter(filter, topic), true));
    for (const topic of no) {
      it(`${filter} does not match ${topic}`, () => assert.equal(matchesFilter(filter, topic), false));
    }
  }

  it("agrees with matching level by level", () => {
    const level: fc.Arbitrary<string> = fc.constantFrom("", "a", "b", "ab", "$a");
    const filterLevel = fc.oneof(level, fc.constant("+"));
    const topic = fc.array(level, { minLength: 1, maxLength: 5 }).filter((levels) => levels.join("/") !== "");
    const end = fc.constantFrom<readonly string[]>([], ["#"]);
    const filter = fc
      .tuple(fc.array(filterLevel, { maxLength: 5 }), end)
      .map(([levels, end]) => levels.concat(end))
      .filter((levels) => levels.join("/") !== "");
    fc.assert(
      fc.property(filter, topic, (filter, topic) => {
        assert.ok(isTopicFilter(filter.join("/")));
        assert.equal(matchesFilter(filter.join("/"), topic.join("/")), matchesLevels(filter, topic));
      }),
      { numRuns: 2_000 },
    );
  });
});

/** The rules of §4.7 as they stand there, without regard to speed. */
function matchesLevels(filter: readonly string[], topic: readonly string[]): boolean {
  const [first] = filter;
  if ((first === "+" || first === "#") && topic.join("/").startsWith("$")) return false;
  const fixed = filter.at(-1) === "#" ? filter.slice(0, -1) : filter;
  if (fixed.length === filter.length ? topic.length !== fixed.length : topic.length < fixed.length)
    return false;
  return fixed.every((level, index) => level === "+" || level === topic[index]);
}

describe("shared subscriptions (MQTT 5.0 §4.8.2)", () => {
  it("takes group and filter apart", () => {
    assert.deepEqual(parseSharedFilter("$share/consumer1/sport/tennis/+"), {
      group: "consumer1",
      filter: "sport/tennis/+",
    });
    assert.deepEqual(parseSharedFilter("$share/consumer1//finance"), {
      group: "consumer1",
      filter: "/finance",
    });
    assert.deepEqual(parseSharedFilter("$share/g/#"), { group: "g", filter: "#" });
  });
  for (const filter of ["$share", "$shared/g/a", "share/g/a", "a/$share/g/a", "$SHARE/g/a", ""]) {
    it(`${JSON.stringify(filter)} is an ordinary filter`, () => {
      assert.equal(parseSharedFilter(filter), undefined);
      assert.equal(isSharedFilter(filter), false);
    });
  }
  const invalid = [
    "$share/",
    "$share//a",
    "$share/g",
    "$share/g/",
    "$share/+/a",
    "$share/g#/a",
    "$share/#",
    "$share/g/a#",
    "$share/g/#/a",
    "$share/\0/a",
  ];
  for (const filter of invalid) {
    it(`${JSON.stringify(filter)} is invalid [MQTT-4.8.2-1] [MQTT-4.8.2-2]`, () => {
      assert.equal(parseSharedFilter(filter), "invalid");
      assert.equal(isSharedFilter(filter), true);
    });
  }
});
