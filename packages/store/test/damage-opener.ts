import { createHash } from "node:crypto";
import { copyFileSync, mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";

import { errorCode, errorText } from "@postern/core/errors";

import { openLmdbSessionStore } from "../src/open-lmdb-session-store.ts";
import { dataFile } from "../src/store-files.ts";
import { commit, dump, message, queue } from "../src/testing/fixtures.ts";
import { damages } from "./damages.ts";

/*
 * Opens damaged copies of a store, one after the other, and prints a line of JSON for each. A crash of LMDB would
 * take this process along, and the test would see that.
 */

export interface DamageResult {
  readonly damage: string;
  /** The error's code and sentence; or `whole` when the store opened. */
  readonly code: string;
  readonly text: string;
  /** For a store that opened: of everything in it. */
  readonly digest: string;
}

async function tryOpening(directory: string): Promise<Omit<DamageResult, "damage">> {
  try {
    const store = await openLmdbSessionStore({ directory });
    const digest = createHash("sha256")
      .update(JSON.stringify(dump(store)))
      .digest("hex");
    // Also what LMDB only looks at when it writes: the free list.
    for (let position = 100_000; position < 100_050; position += 1) queue(store, 1, position, message("new"));
    await commit(store);
    await store.close();
    return { code: "whole", text: "", digest };
  } catch (error) {
    return { code: errorCode(error) ?? "none", text: errorText(error), digest: "" };
  }
}

async function main(original: string, workplace: string): Promise<void> {
  for (const [index, { name, apply }] of damages(dataFile(original)).entries()) {
    const directory = join(workplace, String(index));
    mkdirSync(directory);
    copyFileSync(dataFile(original), dataFile(directory));
    apply(dataFile(directory));
    // LMDB's lock file is no more to be trusted than the data.
    writeFileSync(`${dataFile(directory)}-lock`, Buffer.alloc(8192, index));
    writeFileSync(join(directory, "lock"), Buffer.alloc(100, index));
    const result: DamageResult = { damage: name, ...(await tryOpening(directory)) };
    console.log(JSON.stringify(result));
  }
}

await main(process.argv[2] ?? "", process.argv[3] ?? "");
