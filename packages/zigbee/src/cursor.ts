import { type Eui64, eui64At } from "./eui64.ts";

/** Where decoding ended before the end of its input, and why. What was read until then stays valid. */
export interface Stopped {
  /** Offset in the bytes that were given to the decoder. */
  readonly at: number;
  readonly reason: string;
}

/**
 * A place in the bytes of a frame. All integers are little-endian (IEEE 802.15.4-2006 §7.2, Zigbee §1.2.1.3). Reading
 * past the end sets `stopped` and leaves nothing more to read: later reads return 0 or nothing. The first reason stays.
 */
export interface Cursor {
  readonly bytes: Uint8Array;
  offset: number;
  end: number;
  stopped: Stopped | undefined;
}

const noBytes = new Uint8Array(0);

/** A cursor from `start` up to `end`, both kept within the bytes. */
export function createCursor(bytes: Uint8Array, start = 0, end: number = bytes.length): Cursor {
  const last = Math.min(end, bytes.length);
  return { bytes, offset: Math.min(start, last), end: last, stopped: undefined };
}

/** Says why decoding ends here, unless it has ended before. */
export function stop(cursor: Cursor, reason: string): void {
  cursor.stopped ??= { at: cursor.offset, reason };
  cursor.end = cursor.offset;
}

/** How many bytes can still be read. */
export function left(cursor: Cursor): number {
  return cursor.end - cursor.offset;
}

function lacks(cursor: Cursor, count: number, field: string): boolean {
  if (cursor.offset + count <= cursor.end) return false;
  stop(cursor, `the frame ends within its ${field}`);
  return true;
}

/** An unsigned byte, or 0 past the end. `field` names it in the reason. */
export function readUint8(cursor: Cursor, field: string): number {
  if (lacks(cursor, 1, field)) return 0;
  return cursor.bytes[cursor.offset++] ?? 0;
}

/** An unsigned integer of two bytes, or 0 past the end. */
export function readUint16(cursor: Cursor, field: string): number {
  if (lacks(cursor, 2, field)) return 0;
  const { bytes, offset } = cursor;
  cursor.offset = offset + 2;
  return (bytes[offset] ?? 0) | ((bytes[offset + 1] ?? 0) << 8);
}

/** An unsigned integer of four bytes, or 0 past the end. */
export function readUint32(cursor: Cursor, field: string): number {
  if (lacks(cursor, 4, field)) return 0;
  const { offset } = cursor;
  cursor.offset = offset + 4;
  return uint32At(cursor.bytes, offset);
}

/** A 64-bit extended address, or `undefined` past the end. */
export function readEui64(cursor: Cursor, field: string): Eui64 | undefined {
  if (lacks(cursor, 8, field)) return undefined;
  const { offset } = cursor;
  cursor.offset = offset + 8;
  return eui64At(cursor.bytes, offset);
}

/** A view of the next `count` bytes, or no bytes when there are fewer. */
export function readBytes(cursor: Cursor, count: number, field: string): Uint8Array {
  if (lacks(cursor, count, field)) return noBytes;
  const { offset } = cursor;
  cursor.offset = offset + count;
  return cursor.bytes.subarray(offset, cursor.offset);
}

/** A view of all that is left. */
export function readRest(cursor: Cursor): Uint8Array {
  return readBytes(cursor, left(cursor), "rest");
}

/** The unsigned little-endian integer of four bytes at `offset`; bytes that are not there count as 0. */
export function uint32At(bytes: Uint8Array, offset: number): number {
  return (
    ((bytes[offset] ?? 0) |
      ((bytes[offset + 1] ?? 0) << 8) |
      ((bytes[offset + 2] ?? 0) << 16) |
      ((bytes[offset + 3] ?? 0) << 24)) >>>
    0
  );
}
