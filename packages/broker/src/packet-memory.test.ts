import assert from "node:assert/strict";
import { subscribe, unsubscribe } from "node:diagnostics_channel";
import { describe, it } from "node:test";

import { PacketMemories } from "./packet-memory.ts";

describe("the memory of packets", () => {
  it("is used again when the last who holds it has released it, and no sooner", () => {
    const memories = new PacketMemories();
    const memory = memories.take(20_000);
    memory.hold();
    memory.hold();
    memory.release();
    memory.release();
    assert.notEqual(memories.take(20_000).bytes, memory.bytes);
    memory.release();
    assert.equal(memories.take(20_000).bytes, memory.bytes);
  });

  it("is nobody's to hold or to give back any more once it was given back", () => {
    const memory = new PacketMemories().take(20_000);
    memory.release();
    assert.throws(() => memory.hold(), /memory is held that was given back/);
    assert.throws(() => memory.release(), /memory is given back twice/);
  });

  it("says when its bytes are over, and never when somebody keeps them", () => {
    const over: unknown[] = [];
    const listen = (bytes: unknown): void => void over.push(bytes);
    subscribe("postern:memory-over", listen);
    try {
      const memories = new PacketMemories();
      const [passing, kept] = [memories.take(20_000), memories.take(20_000)];
      kept.keep();
      kept.release();
      assert.deepEqual(over, []);
      passing.release();
      assert.equal(over[0], passing.bytes);
      assert.equal(over.length, 1);
    } finally {
      unsubscribe("postern:memory-over", listen);
    }
  });
});
