import assert from "node:assert/strict";
import { describe, it } from "node:test";

import { QueueState, type StoredMessage } from "@postern/core/session-store";

import { MemorySessionStore } from "./memory-session-store.ts";
import { sessionStoreSuite, type StoreUnderTest } from "./testing/session-store-suite.ts";

function underTest(store: MemorySessionStore): StoreUnderTest {
  return {
    store,
    crash: () => Promise.resolve(underTest(store.afterCrash())),
    reopen: async () => {
      await store.close();
      return underTest(store.afterCrash());
    },
    bodyCount: () => Promise.resolve(store.bodyCount()),
    dispose: () => store.close(),
  };
}

sessionStoreSuite("MemorySessionStore", {
  open: () => Promise.resolve(underTest(new MemorySessionStore({ journal: true }))),
  propertyRuns: 200,
});

const bytes = new Uint8Array(0);
const session = {
  clientId: "c",
  owner: "o",
  protocolVersion: 5,
  expirySeconds: 60,
  disconnectedAtMs: null,
} as const;
const message: StoredMessage = {
  topic: "t",
  payload: new Uint8Array(3),
  qos: 1,
  properties: bytes,
  publishedAtMs: 0,
  expiresAtMs: Infinity,
  publisher: "p",
};

describe("MemorySessionStore", () => {
  it("dequeues a long queue from anywhere and keeps the rest readable in order", () => {
    const store = new MemorySessionStore();
    store.putSession(1, session);
    const messageNumber = store.addMessage(message);
    const entry = { messageNumber, state: QueueState.queued, packetId: 0, qos: 1, retain: false } as const;
    for (let position = 1; position <= 1000; position += 1) {
      store.enqueue(1, { ...entry, position, subscriptionIdentifiers: [] });
    }
    for (let position = 1; position <= 1000; position += 1)
      if (position % 100 !== 0) store.dequeue(1, position);
    const left = store.readQueue(1, { fromPosition: 250, countMax: 3, bytesMax: Infinity });
    assert.deepEqual(
      left.map((kept) => kept.position),
      [300, 400, 500],
    );
    const [loaded] = [...store.loadSessions()];
    assert.equal(loaded?.queuedCount, 10);
    assert.equal(loaded?.queuedBytes, 40);
  });

  it("comes back from a crash with the groups that were done and nothing else", async () => {
    const store = new MemorySessionStore({ journal: true });
    store.putSession(1, session);
    await new Promise((resolve) => store.commit(resolve));
    store.putSession(2, session);
    store.commit(() => {});
    store.putSession(3, session);
    const after = store.afterCrash();
    assert.deepEqual(
      [...after.loadSessions()].map((loaded) => loaded.number),
      [1],
    );
    assert.equal(after.dirty, false);
  });
});
