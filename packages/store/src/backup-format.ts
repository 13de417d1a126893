import { createHash } from "node:crypto";
import { open } from "node:fs/promises";

import { errorText } from "@postern/core/errors";

import type { Progress } from "./check-store-file.ts";
import { rowDamage, StoreBackupError, StoreCorruptError } from "./errors.ts";
import { forEachRow } from "./lmdb/row-reader.ts";

/*
 * A backup file:
 *
 *   "POSTERN BACKUP\n" | version u8 | made at, ms, f64 | the store's rows, all of them puts, in key order | rows u48
 *   | SHA-256 of everything before it
 *
 * Rows are as a `RowWriter` builds them, with their own checksums; the first one says the store's format.
 */

const MAGIC = Buffer.from("POSTERN BACKUP\n");
const VERSION = 1;
const HEADER_BYTES = MAGIC.length + 1 + 8;
const HASH_BYTES = 32;
const TRAILER_BYTES = 6 + HASH_BYTES;
const CHUNK_BYTES = 1 << 20;

export function encodeHeader(madeAtMs: number): Buffer {
  const header = Buffer.alloc(HEADER_BYTES);
  MAGIC.copy(header);
  header[MAGIC.length] = VERSION;
  header.writeDoubleLE(madeAtMs, MAGIC.length + 1);
  return header;
}

export function encodeRowCount(rowCount: number): Buffer {
  const bytes = Buffer.alloc(6);
  bytes.writeUIntLE(rowCount, 0, 6);
  return bytes;
}

/**
 * The rows of a backup file, in buffers of whole rows. Only when the last one has come without an error is it known
 * that the file is complete and undamaged. `onProgress` counts bytes.
 * @throws {StoreBackupError} when the file is no backup, damaged, cut short or of a newer version.
 */
export async function* readBackup(file: string, onProgress?: Progress): AsyncGenerator<Buffer, void> {
  try {
    yield* readRows(file, onProgress);
  } catch (error) {
    if (error instanceof StoreBackupError) throw error;
    const reason = error instanceof StoreCorruptError ? `it is damaged (${error.damage})` : errorText(error);
    throw new StoreBackupError(`The backup ${file} cannot be read: ${reason}. Use another one.`, {
      cause: error,
    });
  }
}

async function* readRows(file: string, onProgress?: Progress): AsyncGenerator<Buffer, void> {
  await using handle = await open(file, "r");
  const { size } = await handle.stat();
  const hash = createHash("sha256");
  const header = await readExactly(handle, 0, Math.min(HEADER_BYTES, size));
  checkHeader(header, file);
  if (size < HEADER_BYTES + TRAILER_BYTES) throw rowDamage("it ends too soon");
  hash.update(header);

  const rowsEnd = size - TRAILER_BYTES;
  let at = HEADER_BYTES;
  let rowCount = 0;
  let rest: Buffer = Buffer.alloc(0);
  const counter = { put: () => (rowCount += 1), delete: () => {} };
  while (at < rowsEnd) {
    const chunk = await readExactly(handle, at, Math.min(CHUNK_BYTES, rowsEnd - at));
    at += chunk.length;
    hash.update(chunk);
    const rows = rest.length === 0 ? chunk : Buffer.concat([rest, chunk]);
    const whole = forEachRow(rows, counter);
    rest = rows.subarray(whole);
    if (whole > 0) yield rows.subarray(0, whole);
    onProgress?.(at, size);
  }

  const trailer = await readExactly(handle, rowsEnd, TRAILER_BYTES);
  hash.update(trailer.subarray(0, 6));
  const isWhole = rest.length === 0 && trailer.readUIntLE(0, 6) === rowCount;
  if (!isWhole || !hash.digest().equals(trailer.subarray(6))) throw rowDamage("its checksum is wrong");
}

function checkHeader(header: Buffer, file: string): void {
  if (header.length < HEADER_BYTES || !header.subarray(0, MAGIC.length).equals(MAGIC)) {
    throw new StoreBackupError(`${file} is not a backup of Postern.`);
  }
  const version = header[MAGIC.length];
  if (version !== VERSION) {
    throw new StoreBackupError(
      `The backup ${file} has version ${version}, and this version of Postern knows version ${VERSION}. Use the newer version that wrote it.`,
    );
  }
}

interface Readable {
  read(buffer: Buffer, offset: number, length: number, position: number): Promise<{ bytesRead: number }>;
}

async function readExactly(handle: Readable, position: number, length: number): Promise<Buffer> {
  const buffer = Buffer.allocUnsafe(length);
  const { bytesRead } = await handle.read(buffer, 0, length, position);
  if (bytesRead !== length) throw rowDamage("it ends too soon");
  return buffer;
}
