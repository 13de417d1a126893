import assert from "node:assert/strict";
import { rmSync } from "node:fs";
import { describe, it } from "node:test";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";

import { openLmdbSessionStore } from "../open-lmdb-session-store.ts";
import { commit, message, queue, session } from "../testing/fixtures.ts";
import { temporaryDirectory } from "../testing/lmdb-under-test.ts";

describe("a long queue", () => {
  it("takes no memory for each message", { timeout: 60_000 }, async () => {
    const directory = temporaryDirectory();
    const store = await openLmdbSessionStore({ directory });
    store.putSession(1, session());
    let position = 0;
    const fill = async (groups: number, messagesPerGroup: number): Promise<void> => {
      for (let group = 0; group < groups; group += 1) {
        for (let count = 0; count < messagesPerGroup; count += 1) {
          position += 1;
          queue(store, 1, position, message("t", Buffer.alloc(64)));
        }
        await commit(store);
      }
    };
    const measure = async (): Promise<number> => {
      // Small groups let go of the buffers that large ones needed.
      await fill(3, 1);
      await new Promise(setImmediate);
      return liveBytes();
    };
    await fill(20, 1000);
    const before = await measure();
    await fill(100, 1000);
    const grown = (await measure()) - before;
    // 100,000 messages: a single number for each would be 800,000 bytes.
    assert.ok(grown < 400_000, `${grown} bytes more are in use`);
    await store.close();
    rmSync(directory, { recursive: true });
  });
});

/** What is in use on this thread's heap once all garbage is collected; every buffer has an object there too. */
function liveBytes(): number {
  setFlagsFromString("--expose-gc");
  runInNewContext("gc(); gc();");
  return process.memoryUsage().heapUsed;
}
