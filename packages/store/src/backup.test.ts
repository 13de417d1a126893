import assert from "node:assert/strict";
import { existsSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, describe, it } from "node:test";

import { restoreBackup } from "./backup.ts";
import { openLmdbSessionStore } from "./open-lmdb-session-store.ts";
import { dataFile } from "./store-files.ts";
import { commit, dump, entry, message, queue, session, subscription, will } from "./testing/fixtures.ts";
import { countRows, temporaryDirectory } from "./testing/lmdb-under-test.ts";

async function contentOf(place: string): Promise<object> {
  const store = await openLmdbSessionStore({ directory: place });
  const content = dump(store);
  await store.close();
  return content;
}

describe("backup and restore", () => {
  let home: string;
  let directory: string;
  let target: string;
  let file: string;
  beforeEach(() => {
    home = temporaryDirectory();
    directory = join(home, "store");
    target = join(home, "restored");
    file = join(home, "backup");
  });
  afterEach(() => rmSync(home, { recursive: true }));

  type Store = Awaited<ReturnType<typeof openLmdbSessionStore>>;

  async function openFull(): Promise<Store> {
    const store = await openLmdbSessionStore({ directory });
    store.putSession(1, session());
    store.putSession(2, session());
    store.putSubscription(1, "x".repeat(65_535), subscription);
    store.putInbound(1, 5);
    store.putWill(2, will("w"));
    store.putRetained(message("r", Buffer.alloc(3_000_000, 7)));
    const shared = store.addMessage(message("shared"));
    store.enqueue(1, entry(1, shared));
    store.enqueue(2, entry(1, shared));
    for (let position = 2; position <= 5000; position += 1) queue(store, 1, position);
    await commit(store);
    return store;
  }

  /** A small store with one session, backed up. @returns what is in it. */
  async function backUpSmall(clientId = "small"): Promise<object> {
    const store = await openLmdbSessionStore({ directory });
    store.putSession(1, session(clientId));
    await commit(store);
    await store.backup(file);
    const content = dump(store);
    await store.close();
    return content;
  }

  it("bring everything back that was committed, and nothing else", async () => {
    const store = await openFull();
    const before = dump(store);
    queue(store, 2, 2, message("not committed"));
    const progress: [number, number][] = [];
    await store.backup(file, (done, total) => progress.push([done, total]));
    await store.close();
    assert.equal(statSync(file).mode & 0o777, 0o600);
    assert.ok(progress.length > 0 && progress.every(([done, total]) => done <= total));

    const steps: number[] = [];
    await restoreBackup({ file, directory: target, onProgress: (done, total) => steps.push(done / total) });
    assert.deepEqual(
      steps,
      [...steps].sort((left, right) => left - right),
    );
    assert.ok((steps.at(-1) ?? 0) > 0.99 && (steps.at(-1) ?? 2) <= 1);
    assert.deepEqual(await contentOf(target), before);
    assert.deepEqual(readdirSync(target).sort(), ["lock", "owner", "store.mdb", "store.mdb-lock"]);
    assert.equal((await countRows(target)).bodies, 5000);
  });

  it("see one moment of a store that goes on", async () => {
    const store = await openFull();
    const groups: Promise<void>[] = [];
    const backup = store.backup(file);
    // Each group adds one message to both sessions.
    for (let count = 0; count < 30; count += 1) {
      const shared = store.addMessage(message("both", Buffer.alloc(2000)));
      store.enqueue(1, entry(5001 + count, shared));
      store.enqueue(2, entry(2 + count, shared));
      groups.push(commit(store));
      await new Promise(setImmediate);
    }
    await backup;
    await Promise.all(groups);
    await store.close();
    await restoreBackup({ file, directory: target });
    const restored = await openLmdbSessionStore({ directory: target });
    const [first, second] = [...restored.loadSessions()];
    assert.equal((first?.queuedCount ?? 0) - 5000, (second?.queuedCount ?? 0) - 1);
    await restored.close();
  });

  it("replace a backup that is there only when the new one is complete", async () => {
    await backUpSmall("first");
    const first = readFileSync(file);
    const store = await openLmdbSessionStore({ directory });
    await assert.rejects(store.backup(join(home, "no", "such", "directory")), { code: "STORE_BACKUP" });
    await store.backup(file);
    await store.close();
    assert.notDeepEqual(readFileSync(file), first);
    assert.deepEqual(readdirSync(home).sort(), ["backup", "store"]);
  });

  it("leave a store with something in it alone, unless told to overwrite it", async () => {
    const content = await backUpSmall("backed up");
    const other = await openLmdbSessionStore({ directory: target });
    // A store without sessions and messages is free to be replaced.
    await other.close();
    await restoreBackup({ file, directory: target });
    const store = await openLmdbSessionStore({ directory: target });
    store.putSession(1, session("changed since"));
    await commit(store);
    await store.close();
    const before = readFileSync(dataFile(target));
    await assert.rejects(restoreBackup({ file, directory: target }), {
      code: "STORE_NOT_EMPTY",
      message: /has something in it/,
    });
    assert.deepEqual(readFileSync(dataFile(target)), before);
    await restoreBackup({ file, directory: target, overwrite: true });
    assert.deepEqual(await contentOf(target), content);
  });

  it("mend a damaged store, when told to overwrite it", async () => {
    const content = await backUpSmall();
    writeFileSync(dataFile(directory), "damaged");
    await assert.rejects(restoreBackup({ file, directory }), { code: "STORE_NOT_EMPTY" });
    await restoreBackup({ file, directory, overwrite: true });
    assert.deepEqual(await contentOf(directory), content);
  });

  it("notice a backup with any byte changed or missing, before anything is touched", async () => {
    await backUpSmall();
    const whole = readFileSync(file);
    const attempt = async (bytes: Buffer): Promise<void> => {
      writeFileSync(file, bytes);
      await assert.rejects(restoreBackup({ file, directory: target, overwrite: true }), { name: /^Store/ });
      assert.equal(existsSync(target), false);
    };
    for (let at = 0; at < whole.length; at += 1) {
      const changed = Buffer.from(whole);
      changed[at] = (changed[at] ?? 0) ^ 0x10;
      await attempt(changed);
    }
    for (let length = 0; length < whole.length; length += 7) await attempt(whole.subarray(0, length));
    await attempt(Buffer.concat([whole, Buffer.of(0)]));
    await attempt(
      Buffer.from("something else altogether, long enough to have a header and a trailer ".repeat(3)),
    );
    await assert.rejects(restoreBackup({ file: join(home, "nothing"), directory: target }), {
      code: "STORE_BACKUP",
    });
  });

  it("refuse the backup of a newer store", async () => {
    const store = await openLmdbSessionStore({ directory, format: { version: 9, migrations: [] } });
    await store.backup(file);
    await store.close();
    await assert.rejects(restoreBackup({ file, directory: target }), {
      code: "STORE_NEWER",
      message: /The backup .*format 9/,
    });
  });

  it("go on with a deleted session that was still being swept out", async () => {
    const store = await openFull();
    store.deleteSession(1);
    await commit(store);
    await store.backup(file);
    await store.close();
    await restoreBackup({ file, directory: target });
    const restored = await openLmdbSessionStore({ directory: target });
    while ((await countRows(target)).doomed > 0) await commit(restored);
    assert.equal((await countRows(target)).bodies, 1);
    await restored.close();
  });
});
