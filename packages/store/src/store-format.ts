import { StoreCorruptError, StoreNewerError } from "./errors.ts";
import type { Row } from "./lmdb/database.ts";
import { Kind, kindKey } from "./lmdb/keys.ts";
import { RowReader } from "./lmdb/row-reader.ts";
import type { RowWriter } from "./lmdb/row-writer.ts";

/** Tells our files from any other LMDB file. */
const FORMAT_MARK = "postern session store";

/** The format that this version writes. One more means a migration in `migrations.ts`. */
export const FORMAT_VERSION = 1;

/** The row that says what a store is. It sorts before all others. */
export function writeFormat(writer: RowWriter, version: number): void {
  writer.begin(Kind.format);
  writer.value();
  writer.text(FORMAT_MARK);
  writer.u32(version);
  writer.put();
}

/**
 * The format's version, from the first row of a store or backup; `formatMax` is the newest that can be read.
 * @param where names the store or backup in the error's sentence.
 * @throws {StoreCorruptError} when the row is not a format row: the file is another program's.
 * @throws {StoreNewerError} when this version is too old to read it.
 */
export function readFormat(
  row: Row,
  options: { readonly where: string; readonly formatMax: number },
): number {
  const { where, formatMax } = options;
  const reader = row.key.equals(kindKey(Kind.format)) ? new RowReader(row.key, row.value) : undefined;
  if (reader?.text() !== FORMAT_MARK) {
    throw new StoreCorruptError(`${where} holds data, but not of a session store. Move it away.`);
  }
  const version = reader.u32();
  if (version <= formatMax) return version;
  throw new StoreNewerError(
    `${where} has format ${version}, and this version of Postern knows formats up to ${formatMax}. Use the newer version that wrote it.`,
  );
}
