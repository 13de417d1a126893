import { closeSync, openSync } from "node:fs";

import { StoreCorruptError } from "./errors.ts";
import { checkLmdbFile } from "./lmdb/file-check.ts";
import { LmdbFileDamage } from "./lmdb/file-layout.ts";
import { FIRST_CONTENT_KIND } from "./lmdb/keys.ts";
import { checkRow } from "./lmdb/row-reader.ts";
import { readFormat } from "./store-format.ts";

/** Told, now and then, how much of long work is done; the unit depends on the work. */
export type Progress = (done: number, total: number) => void;

export interface StoreFileReport {
  readonly formatVersion: number;
  /** Whether there are sessions, messages, retained messages or wills in it. */
  readonly isEmpty: boolean;
}

/**
 * Proves, by plain reads, that a data file is whole and ours: its structure, the checksum of every row, its format.
 * `onProgress` counts pages.
 * @throws {StoreCorruptError | StoreNewerError}
 */
export async function checkStoreFile(
  file: string,
  options: { readonly formatMax: number; readonly onProgress?: Progress | undefined },
): Promise<StoreFileReport> {
  let formatVersion: number | undefined;
  let isEmpty = true;
  const onRow = (key: Buffer, value: Buffer): void => {
    if (formatVersion === undefined) {
      formatVersion = readFormat({ key, value }, { where: file, formatMax: options.formatMax });
    }
    checkRow(key, value);
    if ((key[0] ?? 0) >= FIRST_CONTENT_KIND) isEmpty = false;
  };
  const descriptor = openSync(file, "r");
  try {
    await checkLmdbFile(descriptor, { onRow, onProgress: options.onProgress });
    if (formatVersion === undefined) throw new LmdbFileDamage("it has no rows");
    return { formatVersion, isEmpty };
  } catch (error) {
    throw explain(error, file);
  } finally {
    closeSync(descriptor);
  }
}

function explain(error: unknown, file: string): unknown {
  const damage =
    error instanceof LmdbFileDamage ? error.message : error instanceof StoreCorruptError ? error.damage : "";
  if (damage === "") return error;
  return new StoreCorruptError(
    `The session store ${file} is damaged (${damage}). Restore a backup, or move the file away to start with an empty store.`,
    { cause: error, damage },
  );
}
