import assert from "node:assert/strict";
import { existsSync } from "node:fs";

import { checkStoreFile, type Progress } from "./check-store-file.ts";
import { lockDirectory } from "./directory-lock.ts";
import { explainSystemError } from "./explain-system-error.ts";
import { LmdbReader } from "./lmdb/database.ts";
import { RowWriter } from "./lmdb/row-writer.ts";
import { LmdbWriter } from "./lmdb/writer.ts";
import { LmdbSessionStore } from "./lmdb-session-store.ts";
import { type Migration, MIGRATIONS } from "./migrations.ts";
import { makeEmptyStore, unfinishedFile } from "./new-store-file.ts";
import { dataFile, makeDirectory, protectFile, removeFile, removeLockFile } from "./store-files.ts";
import { FORMAT_VERSION, writeFormat } from "./store-format.ts";

export interface OpenLmdbOptions {
  /** Made, for its owner alone, if it is not there. It is the store's own: nothing else belongs in it. */
  readonly directory: string;
  /** Told how many pages of an existing store are checked. */
  readonly onProgress?: Progress;
  /** Another version and other steps to it than today's: for tests of the mechanism. */
  readonly format?: { readonly version: number; readonly migrations: readonly Migration[] };
}

/**
 * Opens the session store in a directory, after proving that it is whole and ours, and brings it to today's format.
 * @throws {StoreLockedError} while another process, or another store of this one, has it open.
 * @throws {StoreNewerError} when a newer version wrote it.
 * @throws {StoreCorruptError} when it is damaged or another program's; nothing is changed.
 * @throws {StoreUnreadableError} when the rights do not suffice.
 * @throws {StoreFullError} when there is no room to make it.
 */
export async function openLmdbSessionStore(options: OpenLmdbOptions): Promise<LmdbSessionStore> {
  const { directory, onProgress } = options;
  const { version, migrations } = options.format ?? { version: FORMAT_VERSION, migrations: MIGRATIONS };
  makeDirectory(directory);
  await using opened = new AsyncDisposableStack();
  const unlock = lockDirectory(directory);
  opened.defer(unlock);
  try {
    const file = dataFile(directory);
    removeFile(unfinishedFile(file));
    if (!existsSync(file)) await makeEmptyStore(file, version);
    const { formatVersion } = await checkStoreFile(file, { formatMax: version, onProgress });
    removeLockFile(file);
    const reader = opened.adopt(new LmdbReader(file), (toClose) => toClose.close());
    protectFile(file);
    const writer = opened.adopt(await LmdbWriter.start(file), (toClose) => toClose.close());
    for (let from = formatVersion; from < version; from += 1)
      await migrate({ reader, writer, migrations, from });
    const store = new LmdbSessionStore({ file, reader, writer, unlock });
    opened.move();
    return store;
  } catch (error) {
    throw explainSystemError(error, `The session store in ${directory} cannot be opened`, directory);
  }
}

/** One step, in one transaction with the new version. */
async function migrate(step: {
  readonly reader: LmdbReader;
  readonly writer: LmdbWriter;
  readonly migrations: readonly Migration[];
  readonly from: number;
}): Promise<void> {
  const { reader, writer, migrations, from } = step;
  const migration = migrations.find((candidate) => candidate.from === from);
  assert(migration !== undefined, `there is no migration from format ${from}`);
  const rows = new RowWriter();
  migration.run(reader, rows);
  writeFormat(rows, from + 1);
  const { error } = await writer.writeNow(rows.take());
  if (error !== undefined) throw error;
  reader.refresh();
}
