import { crc32 } from "node:zlib";

import { rowDamage } from "../errors.ts";
import { ROW_DELETE, ROW_HEADER_BYTES, ROW_PUT, VALUE_VERSION } from "./row-writer.ts";

const CRC_BYTES = 4;
const VARINT_BYTES_MAX = 8;
/** Most messages have no properties: a million empty views would be a hundred megabytes. */
const nothing = Buffer.alloc(0);

/** Reads the fields of one value, in the order they were written. Views into the value, no copies. */
export class RowReader {
  readonly #bytes: Buffer;
  readonly #end: number;
  #at = 1;

  /** @throws {StoreCorruptError} when the checksum or the version is wrong. */
  constructor(key: Uint8Array, value: Buffer) {
    checkRow(key, value);
    if (value[0] !== VALUE_VERSION) throw rowDamage(`a value of unknown version ${value[0]}`);
    this.#bytes = value;
    this.#end = value.length - CRC_BYTES;
  }

  u8(): number {
    return this.#bytes.readUInt8(this.#take(1));
  }

  u16(): number {
    return this.#bytes.readUInt16LE(this.#take(2));
  }

  u32(): number {
    return this.#bytes.readUInt32LE(this.#take(4));
  }

  u48(): number {
    return this.#bytes.readUIntLE(this.#take(6), 6);
  }

  f64(): number {
    return this.#bytes.readDoubleLE(this.#take(8));
  }

  varint(): number {
    let value = 0;
    let scale = 1;
    for (let count = 0; count < VARINT_BYTES_MAX; count += 1) {
      const byte = this.u8();
      value += (byte & 0x7f) * scale;
      if (byte < 0x80) return value;
      scale *= 0x80;
    }
    throw rowDamage("a number that does not end");
  }

  text(): string {
    const bytes = this.varint();
    const start = this.#take(bytes);
    return this.#bytes.toString("utf8", start, start + bytes);
  }

  bytes(): Buffer {
    const length = this.varint();
    const start = this.#take(length);
    return length === 0 ? nothing : this.#bytes.subarray(start, start + length);
  }

  #take(bytes: number): number {
    const start = this.#at;
    if (start + bytes > this.#end) throw rowDamage("a value that ends too soon");
    this.#at = start + bytes;
    return start;
  }
}

/** @throws {StoreCorruptError} when key and value do not match their checksum. */
export function checkRow(key: Uint8Array, value: Buffer): void {
  const end = value.length - CRC_BYTES;
  if (end < 1) throw rowDamage("a value too short to be one");
  if (crc32(value.subarray(0, end), crc32(key)) !== value.readUInt32LE(end)) {
    throw rowDamage("a value that does not match its checksum");
  }
}

export interface RowSink {
  put(key: Buffer, value: Buffer): void;
  delete(key: Buffer): void;
}

/**
 * Hands the rows of a `RowWriter`'s buffer to `sink`, in order, as views.
 * @returns the offset after the last whole row: less than `rows.length` when the last one is cut off.
 * @throws {StoreCorruptError} when it is no buffer of rows.
 */
export function forEachRow(rows: Buffer, sink: RowSink): number {
  let at = 0;
  while (at + ROW_HEADER_BYTES <= rows.length) {
    const op = rows[at];
    const keyStart = at + ROW_HEADER_BYTES;
    const valueStart = keyStart + rows.readUInt16LE(at + 1);
    const end = valueStart + rows.readUInt32LE(at + 3);
    if (op !== ROW_PUT && op !== ROW_DELETE) throw rowDamage(`a row with the unknown operation ${op}`);
    if (end > rows.length) break;
    const key = rows.subarray(keyStart, valueStart);
    if (op === ROW_PUT) sink.put(key, rows.subarray(valueStart, end));
    else sink.delete(key);
    at = end;
  }
  return at;
}
