import assert from "node:assert/strict";
import { describe, it } from "node:test";

import { checkPlan, defaultGuardPlan, registered } from "./guard-plan.ts";

const plan = {
  ...defaultGuardPlan,
  hiddenPorts: [8883],
  knockPorts: [{ transport: "udp", port: 62_201, payloadBytes: { min: 84, max: 84 } }],
} as const;

describe("a plan of what to guard", () => {
  it("is taken when every part of it can be kept", () => {
    checkPlan(plan);
    checkPlan({ ...plan, registeredSources: ["10.0.0.1", "10.0.0.0/8", "fd00::1", "fd00::/64", "::/0"] });
  });

  const refused: readonly [name: string, change: object][] = [
    ["a port that is none", { hiddenPorts: [0] }],
    ["a port that is no whole number", { hiddenPorts: [1.5] }],
    ["too many ports", { hiddenPorts: Array.from({ length: 65 }, (_, index) => index + 1) }],
    [
      "lengths the wrong way round",
      { knockPorts: [{ transport: "udp", port: 1, payloadBytes: { min: 2, max: 1 } }] },
    ],
    ["a rate of nothing", { knocksPerSecondMax: 0 }],
    ["a rate that no kernel counts", { knocksPerSecondMax: 1e9 }],
    ["a source that is text of a command", { registeredSources: ["10.0.0.1 accept"] }],
    ["a source with a zone", { registeredSources: ["fe80::1%eth0"] }],
    ["a prefix longer than its address", { registeredSources: ["10.0.0.0/33"] }],
    ["a prefix that is no number", { registeredSources: ["10.0.0.0/a"] }],
    ["a prefix of a prefix", { registeredSources: ["10.0.0.0/8/8"] }],
    [
      "too many prefixes",
      { registeredSources: Array.from({ length: 257 }, (_, i) => `10.${i % 256}.0.0/${16 + (i >> 8)}`) },
    ],
  ];
  for (const [name, change] of refused) {
    it(`is refused with ${name}`, () => {
      assert.throws(() => checkPlan({ ...plan, ...change }), RangeError);
    });
  }

  it("keeps registered addresses, each once, apart from prefixes", () => {
    assert.deepEqual(
      registered(["10.0.0.1/32", "::ffff:10.0.0.1", "fd00::1", "10.0.0.0/8", "fd00:0::1/128"]),
      {
        addresses: ["10.0.0.1", "fd00::1"],
        prefixes: ["10.0.0.0/8"],
      },
    );
  });
});
