import type { LmdbReader } from "./lmdb/database.ts";
import type { RowWriter } from "./lmdb/row-writer.ts";

/** Brings a store from one format to the next. */
export interface Migration {
  readonly from: number;
  /** Reads the store as it is and appends what is to change. All of it is one transaction, with the new version. */
  run(reader: LmdbReader, writer: RowWriter): void;
}

/** One for each format before today's, in order. */
export const MIGRATIONS: readonly Migration[] = [];
