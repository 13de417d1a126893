import assert from "node:assert/strict";
import { describe, it } from "node:test";

import * as fc from "fast-check";

import { InFlight, PacketWindow } from "./packet-window.ts";

describe("PacketWindow", () => {
  it("gives ids in sequence from 1 and wraps past 65,535 without ever using 0 (MQTT 5.0 §2.2.1)", () => {
    const window = new PacketWindow();
    for (let turn = 1; turn <= 70_000; turn += 1) {
      const id = window.open(InFlight.puback, turn, 1);
      assert.equal(id, ((turn - 1) % 65_535) + 1);
      window.close(id);
    }
  });

  it("passes over an id that is still in flight", () => {
    const window = new PacketWindow();
    const stuck = window.open(InFlight.pubrec, 0, 1);
    for (let turn = 0; turn < 200_000; turn += 1) {
      const id = window.open(InFlight.puback, turn, 1);
      assert.notEqual(id, stuck);
      assert.notEqual(id, 0);
      window.close(id);
    }
    assert.equal(window.stateOf(stuck), InFlight.pubrec);
  });

  it("holds all 65,535 ids at once, each with its own state, position and size", () => {
    const window = new PacketWindow();
    const seen = new Set<number>();
    for (let turn = 0; turn < 65_535; turn += 1) {
      const id = window.open(turn % 2 === 0 ? InFlight.puback : InFlight.pubrec, turn, turn + 7);
      seen.add(id);
    }
    assert.equal(seen.size, 65_535);
    assert.equal(window.count, 65_535);
    for (const id of seen) assert.equal(window.bytesOf(id), window.positionOf(id) + 7);
  });

  it("answers none for an id that is not in flight, also when its slot is taken by another", () => {
    const window = new PacketWindow();
    const id = window.open(InFlight.puback, 0, 1);
    assert.equal(window.stateOf(id + 8), InFlight.none);
    assert.equal(window.stateOf(0), InFlight.none);
    window.close(id);
    assert.equal(window.stateOf(id), InFlight.none);
  });

  it("agrees with a plain map under any sequence of open, restore and close", () => {
    const step = fc.record({
      kind: fc.constantFrom("open", "restore", "close"),
      value: fc.integer({ min: 1, max: 65_535 }),
    });
    fc.assert(
      fc.property(fc.array(step, { maxLength: 300 }), (steps) => {
        const window = new PacketWindow();
        const model = new Map<number, number>();
        for (const { kind, value } of steps) {
          if (kind === "open") {
            const id = window.open(InFlight.puback, value, 3);
            assert.ok(!model.has(id));
            model.set(id, value);
          } else if (kind === "restore" && !model.has(value)) {
            window.restore(value, InFlight.pubcomp, value, 0);
            model.set(value, value);
          } else if (kind === "close" && model.size > 0) {
            const id = [...model.keys()][value % model.size];
            if (id === undefined) continue;
            window.close(id);
            model.delete(id);
          }
          assert.equal(window.count, model.size);
          for (const [id, position] of model) {
            assert.notEqual(window.stateOf(id), InFlight.none);
            assert.equal(window.positionOf(id), position);
          }
        }
      }),
      { numRuns: 200 },
    );
  });

  it("counts what would have to be sent again: PUBLISHes, not PUBRELs (MQTT 5.0 §4.4)", () => {
    const window = new PacketWindow();
    window.open(InFlight.puback, 1, 10);
    const id = window.open(InFlight.pubrec, 2, 20);
    window.open(InFlight.pubrec, 3, 40);
    window.setState(id, InFlight.pubcomp);
    assert.deepEqual(window.unacknowledged(), { count: 2, bytes: 50 });
  });
});
