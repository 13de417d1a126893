import { openLmdb } from "./lmdb/database.ts";
import { forEachRow } from "./lmdb/row-reader.ts";
import { RowWriter } from "./lmdb/row-writer.ts";
import { makeFile, removeFile, removeLockFile, replaceFile } from "./store-files.ts";
import { writeFormat } from "./store-format.ts";

/**
 * Builds a data file beside `file` from buffers of rows and puts it in the place of `file` at one stroke, so that
 * a crash leaves the one or the other, never a half.
 */
export async function buildStoreFile(
  file: string,
  rows: AsyncIterable<Buffer> | Iterable<Buffer>,
): Promise<void> {
  const half = unfinishedFile(file);
  makeFile(half);
  try {
    // Nothing depends on the disk until the file is whole; then it is brought there once.
    const database = openLmdb(half, { noSync: true });
    try {
      const sink = {
        put: (key: Buffer, value: Buffer) => database.putSync(key, value),
        delete: (key: Buffer) => database.removeSync(key),
      };
      for await (const chunk of rows) database.transactionSync(() => forEachRow(chunk, sink));
    } finally {
      await database.close();
    }
    removeLockFile(file);
    replaceFile(half, file);
  } finally {
    removeFile(half);
  }
}

/** Where `buildStoreFile` builds: what a crash left there is of no use. */
export function unfinishedFile(file: string): string {
  return `${file}.new`;
}

/** A store with nothing in it. */
export async function makeEmptyStore(file: string, formatVersion: number): Promise<void> {
  const writer = new RowWriter();
  writeFormat(writer, formatVersion);
  await buildStoreFile(file, [writer.take()]);
}
