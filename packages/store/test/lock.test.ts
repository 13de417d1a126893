import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { rmSync } from "node:fs";
import { afterEach, beforeEach, describe, it } from "node:test";
import { fileURLToPath } from "node:url";

import { restoreBackup } from "../src/backup.ts";
import { openLmdbSessionStore } from "../src/open-lmdb-session-store.ts";
import { load } from "../src/testing/fixtures.ts";
import { temporaryDirectory } from "../src/testing/lmdb-under-test.ts";

describe("the lock of a store's directory", () => {
  let directory: string;
  beforeEach(() => {
    directory = temporaryDirectory();
  });
  afterEach(() => rmSync(directory, { recursive: true }));

  it("keeps other processes out, with the holder's number, until the holder is killed, and not a moment longer", async () => {
    const script = fileURLToPath(new URL("./lock-holder.ts", import.meta.url));
    for (let turn = 0; turn < 2; turn += 1) {
      const holder = spawn(process.execPath, [script, directory], { stdio: ["ignore", "pipe", "inherit"] });
      await once(holder.stdout, "data");
      const refused = { code: "STORE_LOCKED", message: new RegExp(`in use by .*process ${holder.pid}`) };
      await assert.rejects(openLmdbSessionStore({ directory }), refused);
      await assert.rejects(openLmdbSessionStore({ directory }), refused);
      holder.kill("SIGKILL");
      await once(holder, "exit");
      const store = await openLmdbSessionStore({ directory });
      assert.notEqual(load(store, 1), undefined);
      await store.close();
    }
  });

  it("keeps a second store of the same process out, and the kernel's lock stays when that one fails", async () => {
    const store = await openLmdbSessionStore({ directory });
    await assert.rejects(openLmdbSessionStore({ directory }), { code: "STORE_LOCKED" });
    // Closing any descriptor of the file would have dropped the lock: ask another process.
    const script = fileURLToPath(new URL("./lock-holder.ts", import.meta.url));
    const other = spawn(process.execPath, [script, directory], { stdio: ["ignore", "pipe", "pipe"] });
    const [text] = await once(other.stderr, "data");
    assert.match(String(text), /StoreLockedError|STORE_LOCKED/);
    await once(other, "exit");
    await store.close();
    await (await openLmdbSessionStore({ directory })).close();
  });

  it("keeps a restore out while the store is open", async () => {
    const store = await openLmdbSessionStore({ directory });
    const file = `${directory}.backup`;
    await store.backup(file);
    await assert.rejects(restoreBackup({ file, directory, overwrite: true }), { code: "STORE_LOCKED" });
    await store.close();
    rmSync(file);
  });
});
