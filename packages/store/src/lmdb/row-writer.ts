import { crc32 } from "node:zlib";

/*
 * Rows on their way to the database, one after the other in one buffer that another thread can take over:
 *
 *   op u8 (0 delete, 1 put) | key bytes u16 | value bytes u32 | key | value
 *
 * A value begins with the version of its layout and ends with the CRC-32 of key and value, so that a damaged row is
 * noticed before it is believed. Numbers are little endian, but big endian in keys, where they must sort.
 */

export const ROW_HEADER_BYTES = 7;
export const ROW_DELETE = 0;
export const ROW_PUT = 1;
const CRC_BYTES = 4;
const CAPACITY_MIN = 1024;
/** The layout of all values written today. */
export const VALUE_VERSION = 1;

/** Builds rows: `begin`, key fields, `value`, value fields, `put`; or `begin`, key fields, `delete`. */
export class RowWriter {
  #bytes: Buffer<ArrayBuffer> = Buffer.allocUnsafeSlow(CAPACITY_MIN);
  #end = 0;
  /** Where the row being built begins, which is where the finished ones end: a row given up half-way is overwritten. */
  #row = 0;
  #valueStart = 0;

  get isEmpty(): boolean {
    return this.#row === 0;
  }

  /** Of the finished rows. */
  get byteLength(): number {
    return this.#row;
  }

  /** All finished rows, in a buffer of their own that may be transferred; the writer starts anew. */
  take(): Buffer<ArrayBuffer> {
    const taken = this.#bytes.subarray(0, this.#row);
    // The next group is likely to be as large as this one: half as much again keeps most from growing.
    this.#bytes = Buffer.allocUnsafeSlow(Math.max(CAPACITY_MIN, Math.ceil(this.#row * 1.5)));
    this.#end = 0;
    this.#row = 0;
    return taken;
  }

  begin(kind: number): void {
    this.#end = this.#row;
    this.#reserve(ROW_HEADER_BYTES + 1);
    this.#end += ROW_HEADER_BYTES;
    this.#bytes[this.#end] = kind;
    this.#end += 1;
  }

  /** Ends the key. */
  value(): void {
    this.#valueStart = this.#end;
    this.u8(VALUE_VERSION);
  }

  put(): void {
    this.#reserve(CRC_BYTES);
    const keyStart = this.#row + ROW_HEADER_BYTES;
    const crc = crc32(this.#bytes.subarray(keyStart, this.#end));
    this.#end = this.#bytes.writeUInt32LE(crc, this.#end);
    this.#finish(ROW_PUT, this.#valueStart - keyStart, this.#end - this.#valueStart);
  }

  delete(): void {
    this.#finish(ROW_DELETE, this.#end - this.#row - ROW_HEADER_BYTES, 0);
  }

  /** A whole row, checksum and all, as it is in the database. */
  putRow(key: Uint8Array, value: Uint8Array): void {
    this.#beginKey(key);
    this.raw(value);
    this.#finish(ROW_PUT, key.length, value.length);
  }

  /** A whole row with the key as it is in the database. */
  deleteKey(key: Uint8Array): void {
    this.#beginKey(key);
    this.delete();
  }

  u8(value: number): void {
    this.#reserve(1);
    this.#bytes[this.#end] = value;
    this.#end += 1;
  }

  u16(value: number): void {
    this.#reserve(2);
    this.#end = this.#bytes.writeUInt16LE(value, this.#end);
  }

  u32(value: number): void {
    this.#reserve(4);
    this.#end = this.#bytes.writeUInt32LE(value, this.#end);
  }

  u48(value: number): void {
    this.#reserve(6);
    this.#end = this.#bytes.writeUIntLE(value, this.#end, 6);
  }

  f64(value: number): void {
    this.#reserve(8);
    this.#end = this.#bytes.writeDoubleLE(value, this.#end);
  }

  /** For keys: sorts as bytes as it does as a number. */
  sortedU16(value: number): void {
    this.#reserve(2);
    this.#end = this.#bytes.writeUInt16BE(value, this.#end);
  }

  /** For keys: sorts as bytes as it does as a number. */
  sortedU48(value: number): void {
    this.#reserve(6);
    this.#end = this.#bytes.writeUIntBE(value, this.#end, 6);
  }

  /** Seven bits a byte, lowest first; for whole numbers below 2^53. */
  varint(value: number): void {
    this.#reserve(8);
    let rest = value;
    while (rest > 0x7f) {
      this.#bytes[this.#end] = (rest % 0x80) | 0x80;
      this.#end += 1;
      rest = Math.floor(rest / 0x80);
    }
    this.#bytes[this.#end] = rest;
    this.#end += 1;
  }

  /** Length and UTF-8. */
  text(value: string): void {
    const bytes = Buffer.byteLength(value);
    this.varint(bytes);
    this.#reserve(bytes);
    this.#end += this.#bytes.write(value, this.#end, "utf8");
  }

  /** Length and bytes. */
  bytes(value: Uint8Array): void {
    this.varint(value.length);
    this.raw(value);
  }

  raw(value: Uint8Array): void {
    this.#reserve(value.length);
    this.#bytes.set(value, this.#end);
    this.#end += value.length;
  }

  #beginKey(key: Uint8Array): void {
    this.#end = this.#row;
    this.#reserve(ROW_HEADER_BYTES);
    this.#end += ROW_HEADER_BYTES;
    this.raw(key);
  }

  #finish(op: number, keyBytes: number, valueBytes: number): void {
    this.#bytes[this.#row] = op;
    this.#bytes.writeUInt16LE(keyBytes, this.#row + 1);
    this.#bytes.writeUInt32LE(valueBytes, this.#row + 3);
    this.#row = this.#end;
  }

  #reserve(bytes: number): void {
    const needed = this.#end + bytes;
    if (needed <= this.#bytes.length) return;
    const grown = Buffer.allocUnsafeSlow(Math.max(needed, this.#bytes.length * 2));
    this.#bytes.copy(grown, 0, 0, this.#end);
    this.#bytes = grown;
  }
}
