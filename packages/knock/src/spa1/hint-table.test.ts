import assert from "node:assert/strict";
import { describe, it } from "node:test";

import { knockingDevice, packet, vector } from "../testing.ts";
import { HintTable } from "./hint-table.ts";
import { clocklessEpoch, deriveKnockSecret, hintEpoch, hintOf, knockKeys } from "./keys.ts";

const hourMs = 3_600_000;

function device(number: number, clockless = false) {
  const name = `dev-${number}`;
  const keys = knockKeys(deriveKnockSecret(vector.master, { ...vector.owner, device: name }));
  return knockingDevice({ name, keys, clockless });
}

function finish(table: HintTable<ReturnType<typeof device>>): void {
  while (table.step(100));
}

describe("the hint table", () => {
  it("finds a device in the hour before, this hour and the next, and in no other", () => {
    const table = new HintTable<ReturnType<typeof device>>(vector.nowMs);
    table.set(device(1));
    table.set(device(2));
    finish(table);
    for (const hours of [-2, -1, 0, 1, 2]) {
      const found = table.find(packet({ timestampMs: vector.nowMs + hours * hourMs }));
      assert.equal(found?.name, Math.abs(hours) < 2 ? "dev-1" : undefined, `${hours} hours`);
    }
  });

  it("goes on with the hours, making what it needs a part at a time", () => {
    const table = new HintTable<ReturnType<typeof device>>(vector.nowMs);
    const devices = Array.from({ length: 100 }, (_, number) => device(number));
    for (const each of devices) table.set(each);
    finish(table);
    for (let hour = 1; hour <= 30; hour++) {
      const nowMs = vector.nowMs + hour * hourMs;
      table.advance(nowMs);
      // What was made an hour ago serves before anything new is.
      for (const each of devices) assert.equal(table.find(hintOf(each.keys, hintEpoch(nowMs))), each);
      assert.equal(table.step(10), true);
      finish(table);
    }
  });

  it("follows a clock that was set by years, in both directions", () => {
    const table = new HintTable<ReturnType<typeof device>>(vector.nowMs);
    const known = device(1);
    table.set(known);
    for (const nowMs of [0, 0xffffffff * 1000, vector.nowMs]) {
      table.advance(nowMs);
      finish(table);
      assert.equal(table.find(hintOf(known.keys, hintEpoch(nowMs))), known);
    }
  });

  it("forgets a device at once, also one whose hints are not made yet, and knows the new key of a replaced one", () => {
    const table = new HintTable<ReturnType<typeof device>>(vector.nowMs);
    const [first, second] = [device(1), device(2)];
    table.set(first);
    table.set(second);
    table.delete(second.name);
    finish(table);
    const epoch = hintEpoch(vector.nowMs);
    assert.equal(table.find(hintOf(second.keys, epoch)), undefined);
    const renewed = {
      ...first,
      keys: knockKeys(deriveKnockSecret(vector.master, { ...vector.owner, keyVersion: 2 })),
    };
    table.set(renewed);
    assert.equal(table.find(hintOf(first.keys, epoch)), undefined);
    finish(table);
    assert.equal(table.find(hintOf(first.keys, epoch)), undefined);
    assert.equal(table.find(hintOf(renewed.keys, epoch)), renewed);
    assert.equal(table.size, 1);
  });

  it("takes a device in while the hints of others are being made", () => {
    const table = new HintTable<ReturnType<typeof device>>(vector.nowMs);
    for (let number = 0; number < 20; number++) table.set(device(number));
    table.step(7);
    const late = device(99);
    table.set(late);
    finish(table);
    table.set(device(100));
    finish(table);
    assert.equal(table.find(hintOf(late.keys, hintEpoch(vector.nowMs + hourMs))), late);
    assert.equal(table.find(hintOf(device(100).keys, hintEpoch(vector.nowMs)))?.name, "dev-100");
  });

  it("finds a device without a clock by its one hint, only where it may be without", () => {
    const table = new HintTable<ReturnType<typeof device>>(vector.nowMs);
    const [clockless, other] = [device(1, true), device(2)];
    table.set(clockless);
    table.set(other);
    finish(table);
    assert.equal(table.find(hintOf(clockless.keys, clocklessEpoch)), clockless);
    assert.equal(table.find(hintOf(other.keys, clocklessEpoch)), undefined);
    table.delete(clockless.name);
    assert.equal(table.find(hintOf(clockless.keys, clocklessEpoch)), undefined);
  });

  it("finds nothing in what is shorter than a hint", () => {
    const table = new HintTable<ReturnType<typeof device>>(vector.nowMs);
    assert.equal(table.find(Buffer.alloc(7)), undefined);
  });
});
