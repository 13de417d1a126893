import assert from "node:assert/strict";
import { rmSync } from "node:fs";
import { afterEach, beforeEach, describe, it } from "node:test";

import { openLmdbSessionStore } from "../open-lmdb-session-store.ts";
import { commit, entry, load, message, queue, readAll, session, subscription } from "../testing/fixtures.ts";
import { countRows, temporaryDirectory } from "../testing/lmdb-under-test.ts";

const ENTRY_COUNT = 5000;
const ROWS_PER_SLICE = 512;

/** The suites cover what a deleted session looks like; this is how its rows go. */
describe("a deleted session with a long queue", () => {
  let directory: string;
  beforeEach(() => {
    directory = temporaryDirectory();
  });
  afterEach(() => rmSync(directory, { recursive: true }));

  type Store = Awaited<ReturnType<typeof openLmdbSessionStore>>;

  async function openLong(): Promise<Store> {
    const store = await openLmdbSessionStore({ directory });
    for (const number of [1, 2]) store.putSession(number, session());
    for (let position = 1; position <= ENTRY_COUNT; position += 1) {
      const messageNumber = store.addMessage(message(`t/${position}`));
      store.enqueue(1, entry(position, messageNumber));
      // Some bodies are shared with a session that stays.
      if (position % 10 === 0) store.enqueue(2, entry(position, messageNumber));
    }
    for (let count = 0; count < 600; count += 1) store.putSubscription(1, `filter/${count}`, subscription);
    for (let packetId = 1; packetId <= 600; packetId += 1) store.putInbound(1, packetId);
    store.markSent(1, 1, 1);
    await commit(store);
    return store;
  }

  it("goes slice by slice, one with each write, and leaves no row and no body behind", async () => {
    const store = await openLong();
    const before = (await countRows(directory)).all;
    store.deleteSession(1);
    await commit(store);
    let rows = await countRows(directory);
    assert.equal(rows.doomed, 1);
    // It goes on by itself while the rows are counted, but all of it is more than twenty slices.
    assert.ok(before - rows.all <= 12 * ROWS_PER_SLICE, "everything went in one transaction");
    for (let turn = 0; rows.doomed > 0; turn += 1) {
      assert.ok(turn < 100, "the rows do not go away");
      queue(store, 2, ENTRY_COUNT + turn + 1);
      await commit(store);
      const earlier = rows.all;
      rows = await countRows(directory);
      assert.ok(earlier - rows.all <= 12 * ROWS_PER_SLICE, "the rest went in one transaction");
    }
    assert.equal(rows.bodies, readAll(store, 2).length);
    assert.equal(load(store, 1), undefined);
    assert.throws(() => store.enqueue(1, entry(ENTRY_COUNT + 1, 1)), { name: "RangeError" });
    await store.close();
  });

  it("goes without any further commit", async () => {
    const store = await openLong();
    store.deleteSession(1);
    await commit(store);
    // A look at the file while it is being written may see half of two states; the next one will not.
    const doomedCount = (): Promise<number> =>
      countRows(directory).then(
        ({ doomed }) => doomed,
        () => 1,
      );
    while ((await doomedCount()) > 0) await new Promise(setImmediate);
    await store.close();
    assert.equal((await countRows(directory)).bodies, ENTRY_COUNT / 10);
  });

  it("goes on at the next start, after a crash in the middle of it", async () => {
    let store = await openLong();
    store.deleteSession(1);
    await commit(store);
    await commit(store);
    await store.abandon();
    let rows = await countRows(directory);
    assert.equal(rows.doomed, 1);
    for (let crash = 0; rows.doomed > 0; crash += 1) {
      assert.ok(crash < 100, "the rows do not go away");
      store = await openLmdbSessionStore({ directory });
      assert.equal(load(store, 1), undefined);
      assert.throws(() => store.putSession(1, session()), { name: "RangeError" });
      for (let slice = 0; slice < 4; slice += 1) await commit(store);
      await store.abandon();
      rows = await countRows(directory);
    }
    assert.equal(rows.bodies, ENTRY_COUNT / 10);
    store = await openLmdbSessionStore({ directory });
    assert.equal(readAll(store, 2).length, ENTRY_COUNT / 10);
    assert.equal(load(store, 2)?.queuedCount, ENTRY_COUNT / 10);
    await store.close();
  });

  it("does not hold up others when thousands of empty sessions are deleted at once", async () => {
    const store = await openLmdbSessionStore({ directory });
    for (let number = 1; number <= 1000; number += 1) store.putSession(number, session());
    await commit(store);
    for (let number = 1; number <= 1000; number += 1) store.deleteSession(number);
    await commit(store);
    // The store sweeps on by itself, so a look may find that a few slices of 63 have been done since the last one.
    const slicesBetweenLooksMax = 8;
    let doomed = 1000;
    for (let turn = 0; doomed > 0; turn += 1) {
      assert.ok(turn < 1000, "the sessions do not go away");
      const left = (await countRows(directory)).doomed;
      assert.ok(doomed - left <= slicesBetweenLooksMax * 63, `${doomed - left} sessions at once`);
      doomed = left;
      await commit(store);
    }
    await store.close();
  });
});
