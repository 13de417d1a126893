import assert from "node:assert/strict";
import { describe, it } from "node:test";

import { Delivery } from "./delivery.ts";
import { Message } from "./message.ts";

function messageOf(payload: Uint8Array): Message {
  const stored = {
    topic: "a",
    payload,
    qos: 1,
    properties: new Uint8Array(0),
    publishedAtMs: 0,
    expiresAtMs: Infinity,
    publisher: "",
  } as const;
  return new Message(stored, Buffer.from("a"), true);
}

/** What goes over the wire. */
function packetOf(delivery: Delivery): Buffer {
  const { bytes, payload } = delivery.encoded(4);
  return Buffer.concat([bytes, payload ?? new Uint8Array(0)]);
}

describe("a delivery", () => {
  it("is the same packet for all, also when one of them keeps the message in between", () => {
    const read = Buffer.alloc(65_536, "y");
    for (const payload of [read.subarray(10, 20), read.subarray(0, 20_000), read.subarray(0, 60_000), read]) {
      const message = messageOf(payload);
      const delivery = new Delivery(message, 1, false);
      delivery.shared = true;
      const first = packetOf(delivery);
      assert.ok(first.length > payload.length && first.length < payload.length + 16);
      // As a durable session does: the payload is copied out of a buffer that it fills only in part.
      message.detach();
      assert.deepEqual(packetOf(delivery), first);
      delivery.detach();
      assert.deepEqual(packetOf(delivery), first);
    }
  });

  it("does not copy a large payload that has its buffer for itself, and copies one that would keep others alive", () => {
    const own = Buffer.alloc(60_000);
    const alone = messageOf(own);
    alone.detach();
    assert.equal(alone.payload, own);
    assert.equal(new Delivery(alone, 0, false).encoded(4).payload, own);
    const part = Buffer.alloc(100_000).subarray(0, 40_000);
    const shared = messageOf(part);
    assert.equal(new Delivery(shared, 0, false).encoded(4).payload, undefined);
    shared.detach();
    assert.notEqual(shared.payload.buffer, part.buffer);
  });
});
