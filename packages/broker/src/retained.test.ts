import assert from "node:assert/strict";
import { describe, it } from "node:test";

import { matchesFilter } from "@postern/mqtt/topics";
import { MemorySessionStore } from "@postern/store/memory-session-store";
import * as fc from "fast-check";

import { defaultLimits } from "./limits.ts";
import { Message } from "./message.ts";
import { Retained } from "./retained.ts";

function message(topic: string, payload = "x", expiresAtMs = Infinity): Message {
  return Message.load({
    topic,
    payload: Buffer.from(payload),
    qos: 1,
    properties: new Uint8Array(0),
    publishedAtMs: 0,
    expiresAtMs,
    publisher: "",
  });
}

const level = fc.constantFrom("a", "b", "", "$s");
const topic = fc
  .array(level, { minLength: 1, maxLength: 4 })
  .map((levels) => levels.join("/"))
  .filter((text) => text !== "");
const filter = fc
  .tuple(fc.array(fc.oneof(level, fc.constant("+")), { minLength: 1, maxLength: 4 }), fc.boolean())
  .map(([levels, multi]) => [...levels, ...(multi ? ["#"] : [])].join("/"))
  .filter((text) => text !== "");

describe("Retained", () => {
  it("finds exactly the topics a filter matches (MQTT 5.0 §4.7), while messages come and go", () => {
    fc.assert(
      fc.property(fc.array(fc.tuple(topic, fc.boolean()), { maxLength: 25 }), filter, (changes, wanted) => {
        const retained = new Retained(new MemorySessionStore(), defaultLimits);
        const model = new Set<string>();
        for (const [text, clear] of changes) {
          retained.put(message(text, clear ? "" : "x"), true);
          if (clear) model.delete(text);
          else model.add(text);
        }
        assert.deepEqual(
          retained.match(wanted).sort(),
          [...model].filter((text) => matchesFilter(wanted, text)).sort(),
        );
        assert.equal(retained.count, model.size);
        for (const text of model) retained.put(message(text, ""), true);
        assert.deepEqual([retained.count, retained.bytes], [0, 0]);
      }),
      { numRuns: 400 },
    );
  });

  it("refuses what would go over its limits and keeps what it has", () => {
    const limits = { ...defaultLimits, retainedMessagesMax: 2, retainedBytesMax: 20 };
    const retained = new Retained(new MemorySessionStore(), limits);
    assert.equal(retained.put(message("a", "1234"), true), "kept");
    assert.equal(retained.put(message("b", "1234"), true), "kept");
    assert.equal(retained.put(message("c", "1"), true), "over-limit");
    assert.equal(retained.put(message("a", "12345678901234567890"), true), "over-limit");
    assert.equal(String(retained.get("a")?.payload), "1234");
    assert.equal(retained.put(message("a", "56"), true), "kept");
    assert.equal(String(retained.get("a")?.payload), "56");
  });

  it("sweeps out what has expired, and only that (MQTT 5.0 §3.3.2.3.3)", () => {
    const store = new MemorySessionStore();
    const retained = new Retained(store, defaultLimits);
    retained.put(message("a", "x", 1_000), true);
    retained.put(message("b", "x", 2_000), true);
    retained.put(message("c"), true);
    retained.sweep(1_500, () => false);
    assert.deepEqual(retained.match("#").sort(), ["b", "c"]);
    assert.deepEqual([...store.loadRetained()].map((kept) => kept.topic).sort(), ["b", "c"]);
  });
});
