import assert from "node:assert/strict";
import { afterEach, beforeEach, describe, it } from "node:test";

import {
  commit,
  dump,
  load,
  message,
  positions,
  queue,
  readAll,
  session,
  type StoreUnderTest,
  subscription,
  will,
} from "./fixtures.ts";

/** Groups: when they are done, and what a crash leaves of them. */
export function durabilitySuite(open: () => Promise<StoreUnderTest>): void {
  describe("groups", () => {
    let tested: StoreUnderTest;
    beforeEach(async () => {
      tested = await open();
      tested.store.putSession(1, session());
      await commit(tested.store);
    });
    afterEach(() => tested.dispose());

    it("are lost in a crash before their commit, and there after it is done", async () => {
      queue(tested.store, 1, 1);
      await commit(tested.store);
      queue(tested.store, 1, 2);
      tested.store.dequeue(1, 1);
      tested.store.putRetained(message("r"));
      tested = await tested.crash();
      assert.deepEqual(positions(readAll(tested.store, 1)), [1]);
      assert.deepEqual([...tested.store.loadRetained()], []);
      assert.equal(load(tested.store, 1)?.nextPosition, 2);
    });

    it("are whole or not there at all after a crash while they are being written", async () => {
      tested.store.putSession(2, session());
      for (let position = 1; position <= 200; position += 1) queue(tested.store, 1, position);
      tested.store.putSubscription(2, "f", subscription);
      tested.store.putInbound(2, 3);
      tested.store.putRetained(message("r"));
      tested.store.putWill(2, will("w"));
      tested.store.commit(() => {});
      tested = await tested.crash();
      const present = [
        readAll(tested.store, 1).length === 200,
        load(tested.store, 1)?.queuedCount === 200,
        load(tested.store, 2)?.subscriptions.size === 1,
        load(tested.store, 2)?.inboundPacketIds.length === 1,
        [...tested.store.loadRetained()].length === 1,
        [...tested.store.loadWills()].length === 1,
      ];
      assert.ok(
        present.every((part) => part === present[0]),
        `of the group there is ${present.join(", ")}`,
      );
      assert.equal(await tested.bodyCount(), present[0] === true ? 200 : 0);
    });

    it("are never done within the call of commit, and in the order of their commits", async () => {
      const order: number[] = [];
      for (let index = 0; index < 20; index += 1) {
        if (index % 3 !== 0) queue(tested.store, 1, index + 1);
        tested.store.commit((error) => {
          assert.equal(error, undefined);
          order.push(index);
        });
        assert.equal(order.includes(index), false);
        if (index % 7 === 0) await new Promise(setImmediate);
      }
      await commit(tested.store);
      assert.deepEqual(
        order,
        Array.from({ length: 20 }, (_, index) => index),
      );
    });

    it("make the store dirty from the first append to the commit", async () => {
      assert.equal(tested.store.dirty, false);
      tested.store.addMessage(message("a body alone is nothing to write"));
      assert.equal(tested.store.dirty, false);
      queue(tested.store, 1, 1);
      assert.equal(tested.store.dirty, true);
      tested.store.commit(() => {});
      assert.equal(tested.store.dirty, false);
      tested.store.putRetained(message("r"));
      assert.equal(tested.store.dirty, true);
      await commit(tested.store);
    });

    it("are done even when there is nothing in them", async () => {
      await commit(tested.store);
      await commit(tested.store);
    });

    it("go on when a done callback throws", async () => {
      queue(tested.store, 1, 1);
      const { promise, resolve } = Promise.withResolvers<unknown>();
      process.setUncaughtExceptionCaptureCallback(resolve);
      try {
        tested.store.commit(() => {
          throw new TypeError("a mistake of the caller");
        });
        const second = commit(tested.store);
        assert.equal((await promise) instanceof TypeError, true);
        await second;
      } finally {
        process.setUncaughtExceptionCaptureCallback(null);
      }
      queue(tested.store, 1, 2);
      await commit(tested.store);
      assert.deepEqual(positions(readAll(tested.store, 1)), [1, 2]);
    });

    it("that are open are committed by close", async () => {
      queue(tested.store, 1, 1);
      tested.store.putRetained(message("r"));
      tested = await tested.reopen();
      assert.deepEqual(positions(readAll(tested.store, 1)), [1]);
      assert.deepEqual(
        [...tested.store.loadRetained()].map(({ topic }) => topic),
        ["r"],
      );
    });

    it("cannot be appended to after close, which may be called twice", async () => {
      const { store } = tested;
      tested = await tested.reopen();
      await store.close();
      assert.throws(() => store.putSession(7, session()), { name: "AssertionError" });
      assert.throws(() => store.commit(() => {}), { name: "AssertionError" });
    });

    it("leave the store the same after a restart and after a crash", async () => {
      tested.store.putSubscription(1, "f", subscription);
      tested.store.putInbound(1, 9);
      tested.store.putWill(1, will("w"));
      tested.store.putRetained(message("r"));
      for (let position = 1; position <= 10; position += 1) queue(tested.store, 1, position);
      tested.store.markSent(1, 1, 1);
      tested.store.markSent(1, 2, 2);
      tested.store.markReleased(1, 2);
      tested.store.dequeue(1, 3);
      await commit(tested.store);
      tested = await tested.reopen();
      const before = dump(tested.store);
      tested = await tested.crash();
      assert.deepEqual(dump(tested.store), before);
    });
  });
}
