import assert from "node:assert/strict";
import { describe, it } from "node:test";

import { Batch, FromCarrier, type Handed, memoryOf, readBatch, ToCarrier } from "./batch.ts";

type Seen = [kind: number, connection: number, value: number, text: string];

/** What is in a batch once it has gone to another thread and come back. */
function read(handed: Handed): Seen[] {
  const seen: Seen[] = [];
  readBatch(structuredClone(handed, { transfer: memoryOf(handed) }), (kind, connection, value, bytes) =>
    seen.push([kind, connection, value, bytes.toString("latin1")]),
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

  it("takes a body in once, however many connections get it, and copies none that is its own", () => {
    const batch = new Batch();
    const shared = Buffer.alloc(10_000, "s");
    for (let connection = 1; connection <= 3; connection += 1)
      batch.addBody(ToCarrier.writeBody, connection, shared);
    const own = new Uint8Array(9_000).fill(0x6f);
    batch.addOwnBody(ToCarrier.writeBody, 4, own);
    const handed = batch.take();
    assert.equal(handed.bodies.length, 2);
    assert.equal(handed.bodies[1], own);
    assert.deepEqual(
      read(handed).map(([, connection, , text]) => [connection, text.length, text[0]]),
      [
        [1, 10_000, "s"],
        [2, 10_000, "s"],
        [3, 10_000, "s"],
        [4, 9_000, "o"],
      ],
    );
    // Whoever has handed it over has it no more.
    assert.equal(own.length, 0);
    assert.equal(shared.length, 10_000);
  });
});
