import assert from "node:assert/strict";
import { describe, it } from "node:test";

import type { PacketMemory } from "../packet-memory.ts";
import { Run, Shelves } from "../shelf.ts";
import { Batch, FromCarrier, type Handed, memoryOf, readBatch, Returns, ToCarrier } from "./batch.ts";

type Seen = [kind: number, connection: number, value: number, text: string];

/** What is in a batch once it has gone to another thread and come back. */
function read(handed: Handed): Seen[] {
  const seen: Seen[] = [];
  readBatch(
    structuredClone(handed, { transfer: memoryOf(handed) }),
    new Returns(),
    (kind, connection, value, bytes) => seen.push([kind, connection, value, bytes.toString("latin1")]),
  );
  return seen;
}

describe("a batch for another thread", () => {
  it("holds records in their order, with bytes of any length", () => {
    const batch = new Batch();
    const expected: Seen[] = [];
    for (let length = 0; length < 2_000; length += 7) {
      const text = "x".repeat(length);
      batch.addBytes(FromCarrier.data, length + 1, 0, Buffer.from(text));
      batch.add(FromCarrier.written, length + 1, -length);
      expected.push([FromCarrier.data, length + 1, 0, text], [FromCarrier.written, length + 1, -length, ""]);
    }
    const large = Buffer.alloc(70_000, "y");
    batch.addBytes(FromCarrier.ready, 5, 0, large);
    expected.push([FromCarrier.ready, 5, 0, large.toString()]);
    assert.ok(batch.isFull);
    assert.deepEqual(
      read(batch.take()).map(([kind, connection, value, text]) => [kind, connection, value + 0, text]),
      expected.map(([kind, connection, value, text]) => [kind, connection, value + 0, text]),
    );
    assert.ok(batch.isEmpty);
  });

  it("takes a body in once, however many connections get it", () => {
    const batch = new Batch();
    const shared = Buffer.alloc(10_000, "s");
    for (let connection = 1; connection <= 3; connection += 1)
      batch.addBody(ToCarrier.writeBody, connection, shared);
    batch.addBody(ToCarrier.writeBody, 4, Buffer.alloc(9_000, "o"));
    const handed = batch.take();
    assert.equal(handed.bodies.length, 2);
    assert.deepEqual(
      read(handed).map(([, connection, , text]) => [connection, text.length, text[0]]),
      [
        [1, 10_000, "s"],
        [2, 10_000, "s"],
        [3, 10_000, "s"],
        [4, 9_000, "o"],
      ],
    );
    assert.equal(shared.length, 10_000);
  });

  it("takes bodies in once also when each connection is sent as many as the server may read in a turn", () => {
    const batch = new Batch();
    const shared = Array.from({ length: 128 }, () => Buffer.alloc(16_384));
    for (let connection = 1; connection <= 3; connection += 1) {
      for (const bytes of shared) {
        assert.ok(!batch.isFull);
        batch.addBody(ToCarrier.writeBody, connection, bytes);
      }
    }
    assert.equal(batch.take().bodies.length, shared.length);
  });

  it("names parts of a shelf that it takes in once, and again when there is more on it", () => {
    const batch = new Batch();
    const shelves = new Shelves();
    const [one, two, three] = ["one", "two", "three"].map((text) =>
      shelves.place(Buffer.from(text), undefined),
    );
    assert.ok(one !== undefined && two !== undefined && three !== undefined);
    const whole = new Run(two);
    whole.add(three);
    const parts = new Run(one);
    parts.add(three);
    batch.addRun(ToCarrier.writeRun, 1, whole);
    batch.addRun(ToCarrier.writeRun, 2, whole);
    batch.addRun(ToCarrier.writeRun, 3, parts);
    const later = new Run(three);
    later.add(shelves.place(Buffer.from("four"), undefined));
    batch.addRun(ToCarrier.writeRun, 4, later);
    batch.add(ToCarrier.pause, 5, 0);
    const handed = batch.take();
    assert.equal(handed.bodies.length, 3);
    assert.deepEqual(
      read(handed).map(([, connection, , text]) => [connection, text]),
      [
        [1, "twothree"],
        [2, "twothree"],
        [3, "onethree"],
        [4, "threefour"],
        [5, ""],
      ],
    );
  });

  it("gives its memory back when all was read that is in it, and nobody holds it", () => {
    const batch = new Batch();
    batch.addBytes(ToCarrier.write, 1, 0, Buffer.from("small"));
    batch.addBody(ToCarrier.writeBody, 1, Buffer.alloc(10_000, "l"));
    const handed = batch.take();
    const returns = new Returns();
    const held: PacketMemory[] = [];
    readBatch(handed, returns, (kind, _connection, _value, _bytes, memory) => {
      memory.hold();
      held.push(memory);
      assert.equal(memory.bytes.buffer, memoryOf(handed)[kind === ToCarrier.write ? 0 : 1]);
    });
    assert.deepEqual(returns.take(), []);
    for (const memory of held) memory.release();
    assert.deepEqual(returns.take(), memoryOf(handed));
  });

  it("with nothing in it takes no memory, and has none to give back", () => {
    const handed = new Batch().take();
    assert.deepEqual(memoryOf(handed), []);
    const returns = new Returns();
    readBatch(handed, returns, () => assert.fail());
    assert.deepEqual(returns.take(), []);
  });
});
