import assert from "node:assert/strict";
import { afterEach, beforeEach, describe, it } from "node:test";

import { QueueState } from "@postern/core/session-store";

import { commit, entry, message, queue, readAll, session, type StoreUnderTest } from "./fixtures.ts";

const SESSION_COUNT = 5;

/** The life of a message's body: kept once, as long as an entry needs it. */
export function bodySuite(open: () => Promise<StoreUnderTest>): void {
  describe("message bodies", () => {
    let tested: StoreUnderTest;
    beforeEach(async () => {
      tested = await open();
      for (let number = 1; number <= SESSION_COUNT; number += 1) tested.store.putSession(number, session());
    });
    afterEach(() => tested.dispose());

    /** One message for all sessions. */
    function fanOut(position: number, bytes: number): void {
      const messageNumber = tested.store.addMessage(
        message(`fan/${position}`, Buffer.alloc(bytes, position)),
      );
      for (let number = 1; number <= SESSION_COUNT; number += 1) {
        tested.store.enqueue(number, entry(position, messageNumber));
      }
    }

    async function bodyCount(): Promise<number> {
      await commit(tested.store);
      return tested.bodyCount();
    }

    it("are kept once for many sessions, until the last entry lets go, also across restarts and crashes", async () => {
      fanOut(1, 10);
      fanOut(2, 10_000);
      assert.equal(await bodyCount(), 2);
      for (let number = 1; number < SESSION_COUNT; number += 1) {
        tested.store.dequeue(number, 1);
        tested.store.markSent(number, 2, 1);
        tested.store.markReleased(number, 2);
        if (number === 2) {
          await commit(tested.store);
          tested = await tested.reopen();
        }
        if (number === 3) {
          await commit(tested.store);
          tested = await tested.crash();
        }
        assert.equal(await bodyCount(), 2);
      }
      assert.equal(readAll(tested.store, SESSION_COUNT)[0]?.message?.topic, "fan/1");
      assert.equal(readAll(tested.store, SESSION_COUNT)[1]?.message?.payload.length, 10_000);
      tested.store.dequeue(SESSION_COUNT, 1);
      assert.equal(await bodyCount(), 1);
      tested.store.dequeue(SESSION_COUNT, 2);
      assert.equal(await bodyCount(), 0);
    });

    it("are let go of by deleted sessions", async () => {
      fanOut(1, 10);
      queue(tested.store, 1, 2);
      assert.equal(await bodyCount(), 2);
      for (let number = 1; number < SESSION_COUNT; number += 1) tested.store.deleteSession(number);
      assert.equal(await bodyCount(), 1);
      assert.equal(readAll(tested.store, SESSION_COUNT)[0]?.message?.topic, "fan/1");
      fanOutToDeleted(tested);
      tested.store.deleteSession(SESSION_COUNT);
      assert.equal(await bodyCount(), 0);
    });

    it("are not kept when no entry needs them by the time of the commit", async () => {
      tested.store.addMessage(message("nobody"));
      assert.equal(await bodyCount(), 0);
      fanOut(1, 5000);
      for (let number = 1; number <= SESSION_COUNT; number += 1) tested.store.dequeue(number, 1);
      assert.equal(await bodyCount(), 0);
      const messageNumber = tested.store.addMessage(message("released"));
      const released = { state: QueueState.released, packetId: 4, qos: 2 } as const;
      tested.store.enqueue(1, entry(2, messageNumber, released));
      assert.equal(await bodyCount(), 0);
    });

    it("can be named by new entries until the commit, and not after it", async () => {
      const messageNumber = tested.store.addMessage(message("m"));
      tested.store.enqueue(1, entry(1, messageNumber));
      tested.store.enqueue(2, entry(1, messageNumber));
      await commit(tested.store);
      assert.throws(() => tested.store.enqueue(3, entry(1, messageNumber)), { name: "RangeError" });
      assert.throws(() => tested.store.enqueue(3, entry(1, 999_999_999)), { name: "RangeError" });
      assert.equal(await bodyCount(), 1);
    });

    it("have numbers that do not come back after a restart", async () => {
      const seen = new Set<number>();
      for (let turn = 0; turn < 3; turn += 1) {
        for (let count = 0; count < 10; count += 1) {
          const messageNumber = tested.store.addMessage(message("m"));
          assert.equal(seen.has(messageNumber), false);
          seen.add(messageNumber);
          tested.store.enqueue(1, entry(turn * 10 + count + 1, messageNumber));
        }
        await commit(tested.store);
        tested = turn === 0 ? await tested.reopen() : await tested.crash();
      }
    });

    it("do not leak when some of a fan-out is undone in its own group", async () => {
      const messageNumber = tested.store.addMessage(message("m", Buffer.alloc(3000)));
      for (let number = 1; number <= 3; number += 1) tested.store.enqueue(number, entry(1, messageNumber));
      tested.store.dequeue(1, 1);
      tested.store.deleteSession(2);
      assert.equal(await bodyCount(), 1);
      tested.store.dequeue(3, 1);
      assert.equal(await bodyCount(), 0);
    });
  });
}

/** Nothing may come of it: the sessions are gone. */
function fanOutToDeleted({ store }: StoreUnderTest): void {
  const messageNumber = store.addMessage(message("late"));
  for (let number = 1; number < SESSION_COUNT; number += 1) {
    assert.throws(() => store.enqueue(number, entry(9, messageNumber)), { name: "RangeError" });
  }
}
