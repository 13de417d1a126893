import assert from "node:assert/strict";
import { afterEach, beforeEach, describe, it } from "node:test";

import { messageBytes, QueueState } from "@postern/core/session-store";

import {
  commit,
  entry,
  load,
  message,
  plainEntry,
  plainMessage,
  positions,
  queue,
  readAll,
  session,
  type StoreUnderTest,
} from "./fixtures.ts";

/** Queues: order, ranges, states, counters. */
export function queueSuite(open: () => Promise<StoreUnderTest>): void {
  describe("queues", () => {
    let tested: StoreUnderTest;
    beforeEach(async () => {
      tested = await open();
      tested.store.putSession(1, session());
    });
    afterEach(() => tested.dispose());

    async function reopen(): Promise<void> {
      await commit(tested.store);
      tested = await tested.reopen();
    }

    it("reads what was appended at once, before any commit", () => {
      queue(tested.store, 1, 1, message("now"));
      assert.equal(tested.store.dirty, true);
      assert.equal(readAll(tested.store, 1)[0]?.message?.topic, "now");
    });

    it("returns an entry with all its fields, before and after a restart", async () => {
      const body = { ...message("a/b", Buffer.from([0, 1, 255])), qos: 2, expiresAtMs: 1.75e12 } as const;
      const added = entry(3, tested.store.addMessage(body), {
        qos: 2,
        retain: true,
        subscriptionIdentifiers: [1, 127, 128, 268_435_455],
      });
      tested.store.enqueue(1, added);
      const expected = [{ ...added, message: plainMessage(body) }];
      assert.deepEqual(readAll(tested.store, 1).map(plainEntry), expected);
      await reopen();
      assert.deepEqual(readAll(tested.store, 1).map(plainEntry), expected);
    });

    it("keeps the order of positions, whatever was committed when", async () => {
      queue(tested.store, 1, 1);
      queue(tested.store, 1, 300);
      await commit(tested.store);
      queue(tested.store, 1, 301);
      const done = commit(tested.store);
      queue(tested.store, 1, 65_536);
      assert.deepEqual(positions(readAll(tested.store, 1)), [1, 300, 301, 65_536]);
      await done;
      assert.deepEqual(positions(readAll(tested.store, 1)), [1, 300, 301, 65_536]);
      await reopen();
      assert.deepEqual(positions(readAll(tested.store, 1)), [1, 300, 301, 65_536]);
    });

    it("refuses a position that is not above all earlier ones, also when those are gone and after a restart", async () => {
      queue(tested.store, 1, 7);
      assert.throws(() => queue(tested.store, 1, 7), { name: "RangeError" });
      tested.store.dequeue(1, 7);
      assert.equal(load(await committed(tested), 1)?.nextPosition, 8);
      await reopen();
      assert.throws(() => queue(tested.store, 1, 7), { name: "RangeError" });
      queue(tested.store, 1, 8);
      assert.deepEqual(positions(readAll(tested.store, 1)), [8]);
    });

    it("reads a page: from a position, up to a count, up to a number of bytes but always one", async () => {
      const sizes = [10, 20, 30, 40, 50];
      for (const [index, size] of sizes.entries()) {
        queue(tested.store, 1, (index + 1) * 10, message("t", Buffer.alloc(size)));
      }
      const each = messageBytes(message("t", Buffer.alloc(0)));
      const page = (fromPosition: number, countMax: number, bytesMax: number): number[] =>
        positions(tested.store.readQueue(1, { fromPosition, countMax, bytesMax }));
      const check = (): void => {
        assert.deepEqual(page(0, 2, Infinity), [10, 20]);
        assert.deepEqual(page(20, 2, Infinity), [20, 30]);
        assert.deepEqual(page(21, 9, Infinity), [30, 40, 50]);
        assert.deepEqual(page(51, 9, Infinity), []);
        assert.deepEqual(page(2 ** 48, 9, Infinity), []);
        assert.deepEqual(page(0, 0, Infinity), []);
        assert.deepEqual(page(0, 9, 0), [10]);
        assert.deepEqual(page(0, 9, 30 + 2 * each), [10, 20]);
        assert.deepEqual(page(0, 9, 30 + 2 * each - 1), [10]);
        assert.deepEqual(page(40, 9, 90 + 2 * each), [40, 50]);
      };
      check();
      await commit(tested.store);
      check();
      // Half of it on disk, half of it in memory.
      queue(tested.store, 1, 60, message("t", Buffer.alloc(60)));
      assert.deepEqual(page(40, 3, Infinity), [40, 50, 60]);
      assert.deepEqual(page(40, 3, 90 + 3 * each), [40, 50]);
      tested.store.dequeue(1, 50);
      assert.deepEqual(page(40, 3, 100 + 2 * each), [40, 60]);
    });

    it("reads nothing of a session that is not there", () => {
      assert.deepEqual(readAll(tested.store, 2), []);
    });

    it("takes an entry from queued to sent to released to gone, wherever it is when it changes", async () => {
      // Each step in the group that enqueued, in the next one, and after a restart.
      const pause = [async () => {}, () => commit(tested.store), reopen];
      for (const [index, next] of pause.entries()) {
        const position = index + 1;
        const body = message(`t/${position}`);
        tested.store.enqueue(1, entry(position, tested.store.addMessage(body), { qos: 2 }));
        const read = (): object[] =>
          readAll(tested.store, 1).map(({ state, packetId, message: loaded }) => ({
            state,
            packetId,
            topic: loaded?.topic,
          }));
        await next();
        assert.deepEqual(read(), [{ state: QueueState.queued, packetId: 0, topic: body.topic }]);
        tested.store.markSent(1, position, 500);
        assert.deepEqual(read(), [{ state: QueueState.sent, packetId: 500, topic: body.topic }]);
        await next();
        assert.deepEqual(read(), [{ state: QueueState.sent, packetId: 500, topic: body.topic }]);
        tested.store.markReleased(1, position);
        assert.deepEqual(read(), [{ state: QueueState.released, packetId: 500, topic: undefined }]);
        await next();
        assert.deepEqual(read(), [{ state: QueueState.released, packetId: 500, topic: undefined }]);
        tested.store.markSent(1, position, 501);
        assert.deepEqual(read(), [{ state: QueueState.released, packetId: 500, topic: undefined }]);
        tested.store.dequeue(1, position);
        assert.deepEqual(read(), []);
        await next();
        assert.deepEqual(read(), []);
      }
      await reopen();
      assert.equal(await tested.bodyCount(), 0);
    });

    it("takes an entry that is sent, or released, from the beginning", async () => {
      const sent = { state: QueueState.sent, packetId: 11, qos: 2 } as const;
      tested.store.enqueue(1, entry(1, tested.store.addMessage(message("sent")), sent));
      const released = { state: QueueState.released, packetId: 12, qos: 2 } as const;
      tested.store.enqueue(1, entry(2, tested.store.addMessage(message("released")), released));
      await reopen();
      const read = readAll(tested.store, 1);
      assert.deepEqual(
        read.map(({ state, packetId, message: loaded }) => ({ state, packetId, topic: loaded?.topic })),
        [
          { state: QueueState.sent, packetId: 11, topic: "sent" },
          { state: QueueState.released, packetId: 12, topic: undefined },
        ],
      );
      tested.store.dequeue(1, 1);
      tested.store.dequeue(1, 2);
      await reopen();
      assert.deepEqual(readAll(tested.store, 1), []);
    });

    it("takes changes to entries that are not there for done", async () => {
      queue(tested.store, 1, 1);
      await commit(tested.store);
      tested.store.dequeue(1, 1);
      for (const position of [1, 2]) {
        tested.store.markSent(1, position, 9);
        tested.store.markReleased(1, position);
        tested.store.dequeue(1, position);
      }
      await reopen();
      assert.deepEqual(readAll(tested.store, 1), []);
      assert.equal(load(tested.store, 1)?.queuedCount, 0);
    });

    it("counts what is queued or sent, in entries and bytes, and what is released not", async () => {
      const body = message("topic-é", Buffer.alloc(100));
      const bytes = messageBytes(body);
      assert.equal(bytes, 8 + 100 + 2);
      for (let position = 1; position <= 4; position += 1) queue(tested.store, 1, position, body);
      const counters = async (): Promise<object> => {
        await reopen();
        const { queuedCount, queuedBytes, nextPosition } = load(tested.store, 1) ?? {};
        return { queuedCount, queuedBytes, nextPosition };
      };
      assert.deepEqual(await counters(), { queuedCount: 4, queuedBytes: 4 * bytes, nextPosition: 5 });
      tested.store.markSent(1, 1, 1);
      tested.store.markSent(1, 2, 2);
      assert.deepEqual(await counters(), { queuedCount: 4, queuedBytes: 4 * bytes, nextPosition: 5 });
      tested.store.markReleased(1, 1);
      tested.store.dequeue(1, 2);
      assert.deepEqual(await counters(), { queuedCount: 2, queuedBytes: 2 * bytes, nextPosition: 5 });
      tested.store.dequeue(1, 1);
      assert.deepEqual(await counters(), { queuedCount: 2, queuedBytes: 2 * bytes, nextPosition: 5 });
    });

    it("keeps a payload of 5 MB, for one session and for two", async () => {
      const payload = Buffer.alloc(5_000_000, "payload ");
      tested.store.putSession(2, session());
      queue(tested.store, 1, 1, message("one", payload));
      const shared = tested.store.addMessage(message("two", payload));
      tested.store.enqueue(1, entry(2, shared));
      tested.store.enqueue(2, entry(1, shared));
      await reopen();
      for (const loaded of [...readAll(tested.store, 1), ...readAll(tested.store, 2)]) {
        assert.ok(loaded.message !== null && Buffer.from(loaded.message.payload).equals(payload));
      }
    });

    it("reads a long queue page by page, in order and without a gap, while it is being worked off", async () => {
      const count = 3000;
      for (let position = 1; position <= count; position += 1) queue(tested.store, 1, position);
      await commit(tested.store);
      const seen: number[] = [];
      for (let from = 1; ;) {
        const page = tested.store.readQueue(1, { fromPosition: from, countMax: 100, bytesMax: Infinity });
        if (page.length === 0) break;
        for (const { position } of page) {
          seen.push(position);
          tested.store.dequeue(1, position);
        }
        from = (seen.at(-1) ?? 0) + 1;
        if (from % 3 === 0) await commit(tested.store);
      }
      assert.deepEqual(
        seen,
        Array.from({ length: count }, (_, index) => index + 1),
      );
      await reopen();
      assert.deepEqual(readAll(tested.store, 1), []);
    });
  });
}

async function committed(tested: StoreUnderTest): Promise<StoreUnderTest["store"]> {
  await commit(tested.store);
  return tested.store;
}
