import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, rmSync } from "node:fs";
import { describe, it } from "node:test";
import { fileURLToPath } from "node:url";

import { openLmdbSessionStore } from "../src/open-lmdb-session-store.ts";
import { load, readAll } from "../src/testing/fixtures.ts";
import { temporaryDirectory } from "../src/testing/lmdb-under-test.ts";

const script = fileURLToPath(new URL("./exit-writer.ts", import.meta.url));
const tries = [
  { how: "exit", afterMs: 15, code: 7 },
  { how: "exit", afterMs: 32, code: 7 },
  { how: "throw", afterMs: 22, code: 1 },
  { how: "backup", afterMs: 20, code: 7 },
];

describe("a store whose process exits in the middle of a write", () => {
  for (const { how, afterMs, code } of tries) {
    it(`does not hold the exit up, and is whole: ${how}`, { timeout: 30_000 }, async ({ signal }) => {
      const directory = temporaryDirectory();
      const args = [script, directory, how, String(afterMs)];
      const writer = spawn(process.execPath, args, { stdio: "ignore", signal, killSignal: "SIGKILL" });
      assert.deepEqual(await once(writer, "exit"), [code, null]);
      const store = await openLmdbSessionStore({ directory });
      assert.equal(load(store, 1)?.queuedCount ?? 0, readAll(store, 1).length);
      await store.close();
      assert.equal(existsSync(`${directory}.backup`), false);
      assert.equal(existsSync(`${directory}.backup.part`), false);
      rmSync(directory, { recursive: true });
    });
  }
});
