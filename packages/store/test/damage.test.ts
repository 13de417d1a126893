import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { mkdirSync, readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { describe, it } from "node:test";
import { fileURLToPath } from "node:url";

import { openLmdbSessionStore } from "../src/open-lmdb-session-store.ts";
import { dataFile } from "../src/store-files.ts";
import { commit, entry, message, queue, session, subscription, will } from "../src/testing/fixtures.ts";
import { temporaryDirectory } from "../src/testing/lmdb-under-test.ts";
import type { DamageResult } from "./damage-opener.ts";
import { damages } from "./damages.ts";

/** A store with every kind of row, several levels of pages, large bodies and a free list. */
async function makeStore(directory: string): Promise<void> {
  const store = await openLmdbSessionStore({ directory });
  for (const number of [1, 2, 3]) {
    store.putSession(number, session(`client ${number}`));
    store.putSubscription(number, "a/#", subscription);
    store.putInbound(number, number);
    store.putWill(number, will(`will/${number}`));
  }
  for (let position = 1; position <= 600; position += 1) {
    const messageNumber = store.addMessage(
      message(`t/${position}`, Buffer.alloc(position % 50 === 0 ? 9000 : 60)),
    );
    store.enqueue(1, entry(position, messageNumber));
    if (position % 3 === 0) store.enqueue(2, entry(position, messageNumber));
    if (position % 100 === 0) await commit(store);
  }
  for (let position = 1; position <= 200; position += 1) store.dequeue(1, position);
  for (let count = 0; count < 20; count += 1) store.putRetained(message(`retained/${count}`));
  store.markSent(1, 201, 1);
  queue(store, 3, 1);
  await commit(store);
  store.deleteSession(3);
  await store.close();
}

describe("a damaged store", () => {
  it("is refused with a sentence that says what to do, or is whole; and never ends the process", async () => {
    const home = temporaryDirectory();
    await makeStore(join(home, "original"));
    const workplace = join(home, "copies");
    mkdirSync(workplace);
    const before = readFileSync(dataFile(join(home, "original")));
    const script = fileURLToPath(new URL("./damage-opener.ts", import.meta.url));
    const opener = spawnSync(process.execPath, [script, join(home, "original"), workplace], {
      encoding: "utf8",
    });
    assert.equal(
      opener.signal,
      null,
      `the process was ended by ${opener.signal} after ${opener.stdout.slice(-500)}`,
    );
    assert.equal(opener.status, 0, opener.stderr);
    const results = opener.stdout.trim().split("\n").map(parse);

    assert.deepEqual(readFileSync(dataFile(join(home, "original"))), before);
    const names = damages(dataFile(join(home, "original"))).map(({ name }) => name);
    assert.deepEqual(
      results.map(({ damage }) => damage),
      names,
    );
    const [whole] = results;
    assert.equal(whole?.code, "whole");
    for (const { damage, code, text, digest } of results) {
      // Damage to a page that is free, or to what a page does not use, changes nothing that can be read.
      if (code === "whole") assert.equal(digest, whole?.digest, `${damage}: the store was misread`);
      else assert.equal(code, "STORE_CORRUPT", `${damage}: ${text}`);
      if (code !== "whole")
        assert.match(text, /(restore a backup|move (it|the file|the store) away)/i, damage);
    }
    assert.ok(results.filter(({ code }) => code !== "whole").length > results.length / 2);
    rmSync(home, { recursive: true });
  });
});

function parse(line: string): DamageResult {
  const value: unknown = JSON.parse(line);
  assert.ok(typeof value === "object" && value !== null);
  const text = (name: string): string =>
    name in value ? String(Object.entries(value).find(([key]) => key === name)?.[1]) : "";
  return { damage: text("damage"), code: text("code"), text: text("text"), digest: text("digest") };
}
