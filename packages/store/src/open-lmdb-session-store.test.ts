import assert from "node:assert/strict";
import { chmodSync, mkdirSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, describe, it } from "node:test";

import { openLmdb } from "./lmdb/database.ts";
import { Kind, kindKey } from "./lmdb/keys.ts";
import { writeSession } from "./lmdb/records.ts";
import type { Migration } from "./migrations.ts";
import { MIGRATIONS } from "./migrations.ts";
import { openLmdbSessionStore } from "./open-lmdb-session-store.ts";
import { dataFile } from "./store-files.ts";
import { FORMAT_VERSION } from "./store-format.ts";
import { commit, dump, load, message, queue, session } from "./testing/fixtures.ts";
import { temporaryDirectory } from "./testing/lmdb-under-test.ts";

/** Gives every session another client id: a step to an imaginary format. */
function rename(from: number, clientId: string): Migration {
  return {
    from,
    run: (reader, writer) => {
      for (const { key } of reader.range(kindKey(Kind.session), kindKey(Kind.session + 1))) {
        writer.begin(Kind.session);
        writer.sortedU48(key.readUIntBE(1, 6));
        writer.value();
        writeSession(writer, session(clientId));
        writer.put();
      }
    },
  };
}

describe("openLmdbSessionStore", () => {
  let home: string;
  let directory: string;
  beforeEach(() => {
    home = temporaryDirectory();
    directory = join(home, "a", "b");
  });
  afterEach(() => rmSync(home, { recursive: true }));

  async function makeStore(): Promise<object> {
    const store = await openLmdbSessionStore({ directory });
    store.putSession(1, session("original"));
    queue(store, 1, 1);
    store.putRetained(message("r", Buffer.alloc(9000)));
    store.putRetained(message("r", Buffer.alloc(1)));
    await commit(store);
    const content = dump(store);
    await store.close();
    return content;
  }

  it("makes the directory and files for their owner alone, whatever the umask", async () => {
    const umask = process.umask(0);
    try {
      const store = await openLmdbSessionStore({ directory });
      assert.equal(statSync(directory).mode & 0o777, 0o700);
      for (const name of readdirSync(directory)) {
        assert.equal(statSync(join(directory, name)).mode & 0o777, 0o600, name);
      }
      await store.close();
    } finally {
      process.umask(umask);
    }
  });

  it("opens what it made, again and again, with the same content", async () => {
    const content = await makeStore();
    for (let turn = 0; turn < 3; turn += 1) {
      const store = await openLmdbSessionStore({ directory });
      assert.deepEqual(dump(store), content);
      await store.close();
    }
  });

  it("takes away what a restore that was cut off has left", async () => {
    await makeStore();
    writeFileSync(`${dataFile(directory)}.new`, "half");
    await (await openLmdbSessionStore({ directory })).close();
    assert.deepEqual(readdirSync(directory).sort(), ["lock", "owner", "store.mdb", "store.mdb-lock"]);
  });

  it("lets go of everything when it fails", async () => {
    mkdirSync(directory, { recursive: true });
    writeFileSync(dataFile(directory), "not a store");
    await assert.rejects(openLmdbSessionStore({ directory }), { code: "STORE_CORRUPT" });
    rmSync(dataFile(directory));
    await (await openLmdbSessionStore({ directory })).close();
  });

  it("refuses a store of a newer version, and leaves it as it is", async () => {
    await (
      await openLmdbSessionStore({ directory, format: { version: FORMAT_VERSION + 1, migrations: [] } })
    ).close();
    const before = readFileSync(dataFile(directory));
    await assert.rejects(openLmdbSessionStore({ directory }), {
      code: "STORE_NEWER",
      message: /format 2.*formats up to 1.*newer version/,
    });
    assert.deepEqual(readFileSync(dataFile(directory)), before);
  });

  it("refuses the LMDB file of another program, and leaves it as it is", async () => {
    mkdirSync(directory, { recursive: true });
    const foreign = openLmdb(dataFile(directory));
    foreign.putSync(Buffer.from("theirs"), Buffer.from("data"));
    await foreign.close();
    const before = readFileSync(dataFile(directory));
    await assert.rejects(openLmdbSessionStore({ directory }), {
      code: "STORE_CORRUPT",
      message: /not of a session store/,
    });
    assert.deepEqual(readFileSync(dataFile(directory)), before);
  });

  it("brings an older store to today's format, step by step, and only once", async () => {
    await makeStore();
    const migrations = [rename(1, "second"), rename(2, "third")];
    const store = await openLmdbSessionStore({ directory, format: { version: 3, migrations } });
    assert.equal(load(store, 1)?.session.clientId, "third");
    store.putSession(1, session("changed since"));
    await commit(store);
    await store.close();
    const again = await openLmdbSessionStore({ directory, format: { version: 3, migrations } });
    assert.equal(load(again, 1)?.session.clientId, "changed since");
    await again.close();
    await assert.rejects(openLmdbSessionStore({ directory }), { code: "STORE_NEWER" });
  });

  it("goes on with a migration that was cut off between two steps", async () => {
    await makeStore();
    const failing: Migration = {
      from: 2,
      run: () => {
        throw new Error("the lights went out");
      },
    };
    const cutOff = openLmdbSessionStore({
      directory,
      format: { version: 3, migrations: [rename(1, "second"), failing] },
    });
    await assert.rejects(cutOff, /the lights went out/);
    const store = await openLmdbSessionStore({
      directory,
      format: { version: 3, migrations: [rename(2, "third")] },
    });
    assert.equal(load(store, 1)?.session.clientId, "third");
    await store.close();
  });

  it("has a migration from every format before today's", () => {
    assert.deepEqual(
      MIGRATIONS.map(({ from }) => from),
      Array.from({ length: FORMAT_VERSION - 1 }, (_, index) => index + 1),
    );
  });

  it("reports how far the check of a large store is", async () => {
    const store = await openLmdbSessionStore({ directory });
    store.putRetained(message("large", Buffer.alloc(30_000_000)));
    await commit(store);
    await store.close();
    const reports: number[] = [];
    const onProgress = (done: number, total: number): void => {
      reports.push(done);
      assert.ok(done <= total);
    };
    await (await openLmdbSessionStore({ directory, onProgress })).close();
    assert.ok(reports.length > 0);
  });

  it("says which directory it cannot make", async () => {
    writeFileSync(join(home, "file"), "");
    await assert.rejects(openLmdbSessionStore({ directory: join(home, "file", "store") }), {
      code: "STORE_UNREADABLE",
      message: /cannot be made/,
    });
  });

  const isRoot = process.getuid?.() === 0;
  it("says that it may not read a store", { skip: isRoot ? "root may read everything" : false }, async () => {
    await makeStore();
    chmodSync(dataFile(directory), 0);
    await assert.rejects(openLmdbSessionStore({ directory }), { code: "STORE_UNREADABLE" });
  });
});
