import { type Decoded, type Malformed, malformed } from "./malformed.ts";
import { decodeUtf8 } from "./utf8.ts";
import {
  readVariableByteInteger,
  variableByteIntegerBytes,
  variableByteIntegerIncomplete,
} from "./variable-byte-integer.ts";

/**
 * A place in the body of a packet. Reading past the end, or anything else that is wrong, sets `failure` and moves to
 * the end: later reads then return empty values, and the decoder looks at `failure` once, in `finish`. The first
 * failure stays.
 */
export interface Cursor {
  readonly bytes: Buffer;
  offset: number;
  end: number;
  failure: Malformed | undefined;
}

const noBytes = new Uint8Array(0);

/** A cursor over the bytes from `start` to `end`. */
export function createCursor(bytes: Buffer, start: number, end: number): Cursor {
  return { bytes, offset: start, end, failure: undefined };
}

/** Notes what is wrong, unless something was wrong before, and moves to the end. */
export function fail(cursor: Cursor, failure: Malformed): void {
  cursor.failure ??= failure;
  cursor.offset = cursor.end;
}

function cutShort(cursor: Cursor, field: string): void {
  fail(cursor, malformed(`the packet ends within its ${field} (MQTT 5.0 §2.1.4)`));
}

/** One byte, or 0 on failure. `field` names it in the reason. */
export function readByte(cursor: Cursor, field: string): number {
  if (cursor.offset >= cursor.end) {
    cutShort(cursor, field);
    return 0;
  }
  return cursor.bytes[cursor.offset++] ?? 0;
}

/** A two-byte integer, or 0 on failure. @see MQTT 5.0 §1.5.2 */
export function readTwoBytes(cursor: Cursor, field: string): number {
  if (cursor.offset + 2 > cursor.end) {
    cutShort(cursor, field);
    return 0;
  }
  const value = cursor.bytes.readUInt16BE(cursor.offset);
  cursor.offset += 2;
  return value;
}

/** A four-byte integer, or 0 on failure. @see MQTT 5.0 §1.5.3 */
export function readFourBytes(cursor: Cursor, field: string): number {
  if (cursor.offset + 4 > cursor.end) {
    cutShort(cursor, field);
    return 0;
  }
  const value = cursor.bytes.readUInt32BE(cursor.offset);
  cursor.offset += 4;
  return value;
}

/** A variable byte integer, or 0 on failure. @see MQTT 5.0 §1.5.5 */
export function readVariable(cursor: Cursor, field: string): number {
  const value = readVariableByteInteger(cursor.bytes, cursor.offset, cursor.end);
  if (value >= 0) {
    cursor.offset += variableByteIntegerBytes(value);
    return value;
  }
  if (value === variableByteIntegerIncomplete) cutShort(cursor, field);
  else
    fail(
      cursor,
      malformed(`the ${field} is not a variable byte integer in its shortest form (MQTT 5.0 §1.5.5)`),
    );
  return 0;
}

/** Passes over a length and as many bytes; returns where they start (they end at the new offset), or -1 on failure. */
function passBinary(cursor: Cursor, field: string): number {
  const length = readTwoBytes(cursor, field);
  if (cursor.failure !== undefined) return -1;
  const start = cursor.offset;
  if (start + length > cursor.end) {
    cutShort(cursor, field);
    return -1;
  }
  cursor.offset = start + length;
  return start;
}

/** Binary data as a copy of its own, or no bytes on failure. @see MQTT 5.0 §1.5.6 */
export function readBinary(cursor: Cursor, field: string): Uint8Array {
  const start = passBinary(cursor, field);
  return start === -1 ? noBytes : new Uint8Array(cursor.bytes.subarray(start, cursor.offset));
}

/** Bytes as the characters of the same numbers: for text that is ASCII or wrong; "" on failure. */
export function readLatin1(cursor: Cursor, field: string): string {
  const start = passBinary(cursor, field);
  return start === -1 ? "" : cursor.bytes.toString("latin1", start, cursor.offset);
}

/** A UTF-8 string, or "" on failure. @see MQTT 5.0 §1.5.4 */
export function readString(cursor: Cursor, field: string): string {
  const start = passBinary(cursor, field);
  if (start === -1) return "";
  const text = decodeUtf8(cursor.bytes, start, cursor.offset);
  if (text !== undefined) return text;
  fail(cursor, malformed(`the ${field} is not UTF-8 or holds U+0000 (MQTT 5.0 §1.5.4)`));
  return "";
}

/** The value, unless reading failed or bytes are left. */
export function finish<T>(cursor: Cursor, value: T): Decoded<T> {
  if (cursor.failure !== undefined) return cursor.failure;
  if (cursor.offset === cursor.end) return { kind: "value", value };
  return malformed(`${cursor.end - cursor.offset} bytes follow the packet's last field (MQTT 5.0 §2.1.4)`);
}
