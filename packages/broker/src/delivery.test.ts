import assert from "node:assert/strict";
import { describe, it } from "node:test";

import { Delivery } from "./delivery.ts";
import { Message } from "./message.ts";
import { PacketMemories, type PacketMemory } from "./packet-memory.ts";

function messageOf(payload: Uint8Array, memory?: PacketMemory): Message {
  const stored = {
    topic: "a",
    payload,
    qos: 1,
    properties: new Uint8Array(0),
    publishedAtMs: 0,
    expiresAtMs: Infinity,
    publisher: "",
  } as const;
  return new Message(stored, Buffer.from("a"), true, memory);
}

/** What goes over the wire. */
function packetOf(delivery: Delivery): Buffer {
  const { bytes, payload } = delivery.encoded(4);
  return Buffer.concat([bytes, payload ?? new Uint8Array(0)]);
}

describe("a delivery", () => {
  it("is the same packet for all, also when one of them keeps the message in between", () => {
    const memory = new PacketMemories().take(65_536);
    const read = memory.bytes.fill("y");
    for (const payload of [read.subarray(10, 20), read.subarray(0, 20_000), read.subarray(0, 60_000), read]) {
      const message = messageOf(payload, memory);
      const delivery = new Delivery(message, 1, false);
      delivery.shared = true;
      const first = packetOf(delivery);
      assert.ok(first.length > payload.length && first.length < payload.length + 16);
      // As a durable session does: the payload is copied out of memory that it fills only in part.
      message.detach();
      assert.deepEqual(packetOf(delivery), first);
      delivery.detach();
      assert.deepEqual(packetOf(delivery), first);
    }
  });

  it("does not copy a large payload that has its memory for itself, and copies one that would keep more alive", () => {
    const memories = new PacketMemories();
    const own = memories.take(60_000);
    const payload = own.bytes.subarray(0, 60_000);
    const alone = messageOf(payload, own);
    alone.detach();
    assert.equal(alone.payload, payload);
    assert.equal(new Delivery(alone, 0, false).encoded(4).payload, payload);
    // Nobody else comes to where it is, though nobody is known to hold it.
    own.release();
    assert.notEqual(memories.take(60_000).bytes.buffer, payload.buffer);
    const part = memories.take(81_920);
    const shared = messageOf(part.bytes.subarray(0, 40_000), part);
    shared.detach();
    assert.notEqual(shared.payload.buffer, part.bytes.buffer);
  });

  it("does not hold memory for a small part of it: limits count the payload, not what came around it", () => {
    const memory = new PacketMemories().take(327_680);
    const message = messageOf(memory.bytes.fill("y").subarray(310_000, 320_000), memory);
    const delivery = new Delivery(message, 0, false);
    const first = packetOf(delivery);
    assert.deepEqual(
      [delivery.encoded(4).payload, delivery.encoded(4).memory, delivery.encoded(5).memory],
      [undefined, undefined, undefined],
    );
    memory.bytes.fill("z");
    assert.deepEqual(packetOf(delivery), first);
  });

  it("copies what is in memory that cannot be held, whatever its size", () => {
    const read = Buffer.alloc(60_000, "y");
    const message = messageOf(read);
    const delivery = new Delivery(message, 0, false);
    const first = packetOf(delivery);
    assert.equal(delivery.encoded(4).payload, undefined);
    delivery.detach();
    read.fill("z");
    assert.deepEqual(packetOf(delivery), first);
  });
});
