import assert from "node:assert/strict";
import { rmSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";

import { errorCode } from "@postern/core/errors";

import { openLmdbSessionStore } from "../src/open-lmdb-session-store.ts";
import { dataFile } from "../src/store-files.ts";
import { commit, load, message, positions, queue, readAll, session } from "../src/testing/fixtures.ts";

/*
 * Runs on a small file system of its own: fills it, makes room, and proves that nothing was lost or misread on the
 * way. Throws if it was.
 */

const MESSAGES_PER_GROUP = 100;

async function main(directory: string): Promise<void> {
  const ballast = join(directory, "ballast");
  writeFileSync(ballast, Buffer.alloc(2_000_000));
  const home = join(directory, "store");
  let store = await openLmdbSessionStore({ directory: home });
  store.putSession(1, session());
  await commit(store);

  let position = 0;
  const append = (): void => {
    for (let count = 0; count < MESSAGES_PER_GROUP; count += 1) {
      position += 1;
      queue(store, 1, position, message(`t/${position}`, Buffer.alloc(500)));
    }
  };
  const tryCommit = (): Promise<string | undefined> => commit(store).then(() => undefined, errorCode);

  let code: string | undefined;
  let groups = 0;
  while (code === undefined && groups < 1000) {
    append();
    code = await tryCommit();
    groups += 1;
  }
  assert.equal(code, "STORE_FULL");
  assert.ok(groups > 3, `only ${groups} groups fit`);

  // It says so every time, keeps everything, and can still be read.
  append();
  store.dequeue(1, 1);
  assert.equal(await tryCommit(), "STORE_FULL");
  assert.equal(await tryCommit(), "STORE_FULL");
  const expected = Array.from({ length: position - 1 }, (_, index) => index + 2);
  assert.deepEqual(positions(readAll(store, 1)), expected);

  // Once there is room, a commit with nothing new in it writes what waited.
  rmSync(ballast);
  assert.equal(await tryCommit(), undefined);
  assert.deepEqual(positions(readAll(store, 1)), expected);
  append();
  await commit(store);
  await store.close();

  store = await openLmdbSessionStore({ directory: home });
  assert.equal(load(store, 1)?.queuedCount, position - 1);
  assert.deepEqual(
    positions(readAll(store, 1)),
    Array.from({ length: position - 1 }, (_, index) => index + 2),
  );

  // Full again: what cannot be written is told when the store is closed, and the rest is there afterwards.
  while ((await tryCommit()) === undefined) append();
  await assert.rejects(store.close(), { code: "STORE_FULL" });
  const { size } = statSync(dataFile(home));
  store = await openLmdbSessionStore({ directory: home });
  assert.ok((load(store, 1)?.queuedCount ?? 0) > position / 2);
  await store.close();
  console.log(`filled ${groups} groups, ${size} bytes`);
}

await main(process.argv[2] ?? "");
