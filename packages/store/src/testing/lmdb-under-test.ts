import { closeSync, mkdtempSync, openSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { checkLmdbFile } from "../lmdb/file-check.ts";
import { keyPart, Kind, QueuePart } from "../lmdb/keys.ts";
import { readEntryHead } from "../lmdb/records.ts";
import { RowReader } from "../lmdb/row-reader.ts";
import type { LmdbSessionStore } from "../lmdb-session-store.ts";
import { openLmdbSessionStore } from "../open-lmdb-session-store.ts";
import { dataFile } from "../store-files.ts";
import { commit, type StoreUnderTest } from "./fixtures.ts";

/** A new directory under the system's own for temporary files. */
export function temporaryDirectory(): string {
  return mkdtempSync(join(tmpdir(), "postern-store-"));
}

/** An LMDB store in a directory of its own, for the suites. */
export async function openLmdbUnderTest(directory = temporaryDirectory()): Promise<StoreUnderTest> {
  const store = await openLmdbSessionStore({ directory });
  return {
    store,
    crash: async () => {
      await store.abandon();
      return openLmdbUnderTest(directory);
    },
    reopen: async () => {
      await store.close();
      return openLmdbUnderTest(directory);
    },
    bodyCount: () => bodyCount(store, directory),
    dispose: async () => {
      await store.abandon();
      rmSync(directory, { recursive: true });
    },
  };
}

async function bodyCount(store: LmdbSessionStore, directory: string): Promise<number> {
  let rows = await countRows(directory);
  // Each commit takes a slice of the deleted sessions along.
  while (rows.doomed > 0) {
    await commit(store);
    rows = await countRows(directory);
  }
  return rows.bodies;
}

export interface RowCount {
  /** Bodies, within their entries or apart. */
  readonly bodies: number;
  readonly doomed: number;
  readonly all: number;
}

/** Counts the rows of a store file, by plain reads; it proves the file as well. Nothing may be written meanwhile. */
export async function countRows(directory: string): Promise<RowCount> {
  let bodies = 0;
  let doomed = 0;
  const onRow = (key: Buffer, value: Buffer): void => {
    if (key[0] === Kind.body) bodies += 1;
    if (key[0] === Kind.doomed) doomed += 1;
    if (key[0] !== Kind.queue || keyPart(key) !== QueuePart.entry) return;
    if (readEntryHead(new RowReader(key, value)).inline) bodies += 1;
  };
  const descriptor = openSync(dataFile(directory), "r");
  try {
    const { entries } = await checkLmdbFile(descriptor, { onRow });
    return { bodies, doomed, all: entries };
  } finally {
    closeSync(descriptor);
  }
}
