import {
  variableByteIntegerBytes,
  variableByteIntegerMax,
  writeVariableByteInteger,
} from "./variable-byte-integer.ts";

/** A packet's body as it grows. For packets off the hot path: PUBLISH and acknowledgements are written in place. */
export interface PacketWriter {
  buffer: Buffer;
  length: number;
}

const stringBytesMax = 65_535;

/** A writer with nothing written. */
export function createPacketWriter(): PacketWriter {
  return { buffer: Buffer.allocUnsafe(128), length: 0 };
}

/** Makes room for `count` more bytes and returns the offset at which they begin. */
function extend(writer: PacketWriter, count: number): number {
  const offset = writer.length;
  const needed = offset + count;
  if (needed > writer.buffer.length) {
    const larger = Buffer.allocUnsafe(Math.max(needed, writer.buffer.length * 2));
    larger.set(writer.buffer.subarray(0, offset));
    writer.buffer = larger;
  }
  writer.length = needed;
  return offset;
}

function requireInteger(value: number, most: number, field: string): void {
  if (Number.isInteger(value) && value >= 0 && value <= most) return;
  throw new RangeError(`${field} is ${value}; it must be an integer of 0 to ${most}`);
}

/** One byte. Throws `RangeError`, here and below, for a number that does not fit; `field` names it in the message. */
export function writeByte(writer: PacketWriter, value: number, field: string): void {
  requireInteger(value, 0xff, field);
  const offset = extend(writer, 1);
  writer.buffer[offset] = value;
}

/** A two-byte integer. @see MQTT 5.0 §1.5.2 */
export function writeTwoBytes(writer: PacketWriter, value: number, field: string): void {
  requireInteger(value, 0xff_ff, field);
  const offset = extend(writer, 2);
  writer.buffer.writeUInt16BE(value, offset);
}

/** A four-byte integer. @see MQTT 5.0 §1.5.3 */
export function writeFourBytes(writer: PacketWriter, value: number, field: string): void {
  requireInteger(value, 0xff_ff_ff_ff, field);
  const offset = extend(writer, 4);
  writer.buffer.writeUInt32BE(value, offset);
}

/** A variable byte integer. @see MQTT 5.0 §1.5.5 */
export function writeVariable(writer: PacketWriter, value: number, field: string): void {
  requireInteger(value, variableByteIntegerMax, field);
  const offset = extend(writer, variableByteIntegerBytes(value));
  writeVariableByteInteger(writer.buffer, offset, value);
}

/** Bytes without a length before them. */
export function writeRaw(writer: PacketWriter, bytes: Uint8Array): void {
  const offset = extend(writer, bytes.length);
  writer.buffer.set(bytes, offset);
}

/** Binary data: two bytes of length, then the bytes. Throws `RangeError` above 65,535 bytes. @see MQTT 5.0 §1.5.6 */
export function writeBinary(writer: PacketWriter, bytes: Uint8Array, field: string): void {
  if (bytes.length > stringBytesMax) {
    throw new RangeError(`${field} has ${bytes.length} bytes; at most ${stringBytesMax} fit`);
  }
  writeTwoBytes(writer, bytes.length, field);
  writeRaw(writer, bytes);
}

/**
 * A UTF-8 string: two bytes of length, then the text. Throws `TypeError` for U+0000 and lone surrogates, and
 * `RangeError` above 65,535 bytes.
 * @see MQTT 5.0 §1.5.4
 */
export function writeString(writer: PacketWriter, text: string, field: string): void {
  if (!text.isWellFormed() || text.includes("\0")) {
    throw new TypeError(`${field} holds U+0000 or a lone surrogate, which MQTT forbids`);
  }
  writeBinary(writer, Buffer.from(text, "utf8"), field);
}

/** What was written so far. */
export function writtenBytes(writer: PacketWriter): Buffer {
  return writer.buffer.subarray(0, writer.length);
}

/** The whole packet: fixed header and what was written, in a buffer of exactly its size. Throws `RangeError` when it is longer than MQTT can tell. */
export function finishPacket(packetType: number, flags: number, writer: PacketWriter): Buffer {
  requireInteger(writer.length, variableByteIntegerMax, "the packet's remaining length");
  const packet = Buffer.allocUnsafe(1 + variableByteIntegerBytes(writer.length) + writer.length);
  packet[0] = (packetType << 4) | flags;
  packet.set(writtenBytes(writer), writeVariableByteInteger(packet, 1, writer.length));
  return packet;
}
