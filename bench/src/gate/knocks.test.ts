import assert from "node:assert/strict";
import { describe, it } from "node:test";

import { hostsRefused } from "@postern/gate/hosts/namespaces";

import { measureGate } from "./knocks.ts";

const refused = await hostsRefused();

describe("the measurement of knocks", refused === undefined ? {} : { skip: refused }, () => {
  it("opens for every knock in a flood, by way of all stages in their order", async () => {
    // The names of the devices that knock are 37 apart.
    const { knocks, gate } = await measureGate(200, { knocks: 5, rate: 1_000, floodedMs: 300 });
    assert.equal(knocks.length, 5);
    assert.deepEqual(
      gate.traces.map(({ device }) => device),
      knocks.map(({ device }) => device),
    );
    for (const [index, { receivedMs, verifiedMs, heldMs, toldMs, openedMs }] of gate.traces.entries()) {
      const sentMs = knocks[index]?.sentMs ?? Infinity;
      const ways = [
        [sentMs, receivedMs, verifiedMs, heldMs, openedMs],
        [verifiedMs, toldMs, openedMs],
      ];
      for (const way of ways)
        assert.deepEqual(
          way,
          way.toSorted((one, other) => one - other),
        );
    }
    assert.ok(gate.judged > knocks.length, "the flood came");
  });
});
