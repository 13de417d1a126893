import assert from "node:assert/strict";
import { describe, it } from "node:test";

import { matchesFilter } from "@postern/mqtt/topics";
import { MemorySessionStore } from "@postern/store/memory-session-store";
import * as fc from "fast-check";

import { defaultLimits } from "./limits.ts";
import { Message } from "./message.ts";
import { Retained } from "./retained.ts";
import type { RetainedWalk } from "./retained-walk.ts";

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
          topicsOf(retained.walk(wanted)).sort(),
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

  it("goes through them while they come and go, and tells none of a topic that came later", () => {
    const retained = new Retained(new MemorySessionStore(), defaultLimits);
    for (const text of ["a/1", "a/2", "a/3", "b"]) retained.put(message(text), true);
    const walk = retained.walk("a/#");
    while (walk.next()?.topic !== "a/1");
    retained.put(message("a/2", ""), true);
    retained.put(message("a/3", "newer"), true);
    retained.put(message("a/4"), true);
    retained.put(message("a/2", "again"), true);
    const rest: Message[] = [];
    while (!walk.isDone) rest.push(...[walk.next()].flatMap((found) => found ?? []));
    assert.deepEqual(
      rest.map(({ topic: name, payload }) => `${name} ${String(payload)}`),
      ["a/3 newer"],
    );
  });

  it("goes through all of them without a filter, also those of topics that begin with $", () => {
    const retained = new Retained(new MemorySessionStore(), defaultLimits);
    for (const text of ["a", "$keys/a", "/"]) retained.put(message(text), true);
    assert.deepEqual(topicsOf(retained.walk(undefined)).sort(), ["$keys/a", "/", "a"]);
    assert.deepEqual(topicsOf(retained.walk("#")).sort(), ["/", "a"]);
  });

  it("forgets one, also on disk", () => {
    const store = new MemorySessionStore();
    const retained = new Retained(store, defaultLimits);
    for (const text of ["a", "b", "c"]) retained.put(message(text), true);
    retained.end("a");
    retained.end("a");
    assert.equal(retained.count, 2);
    assert.deepEqual([...store.loadRetained()].map((kept) => kept.topic).sort(), ["b", "c"]);
  });
});

function topicsOf(walk: RetainedWalk): string[] {
  const topics: string[] = [];
  while (!walk.isDone) {
    const found = walk.next();
    if (found !== undefined) topics.push(found.topic);
  }
  return topics;
}
