/**
 * DER from values: each function returns one whole element, and constructed ones take elements.
 * @see X.690 §8, §10 (Distinguished Encoding Rules)
 */
import { Tag, contextTag } from "./tag.ts";

/** How many bytes identifier and length take before `length` bytes of content. */
export function headerBytes(length: number): number {
  if (length < 0x80) return 2;
  if (length < 0x1_00) return 3;
  if (length < 0x1_00_00) return 4;
  return length < 0x1_00_00_00 ? 5 : 6;
}

/** Writes identifier and length at `offset`. @returns where the content begins. */
export function writeHeader(
  target: Buffer,
  offset: number,
  { tag, length }: { tag: number; length: number },
): number {
  target[offset] = tag;
  if (length < 0x80) {
    target[offset + 1] = length;
    return offset + 2;
  }
  const lengthBytes = headerBytes(length) - 2;
  target[offset + 1] = 0x80 | lengthBytes;
  return target.writeUIntBE(length, offset + 2, lengthBytes);
}

/** An element of this tag around `parts`. */
export function element(tag: number, ...parts: readonly Uint8Array[]): Buffer {
  const length = parts.reduce((sum, part) => sum + part.length, 0);
  const target = Buffer.allocUnsafe(headerBytes(length) + length);
  let offset = writeHeader(target, 0, { tag, length });
  for (const part of parts) {
    target.set(part, offset);
    offset += part.length;
  }
  return target;
}

export function sequence(...parts: readonly Uint8Array[]): Buffer {
  return element(Tag.sequence, ...parts);
}

/** A SET OF: its elements in the order DER demands. @see X.690 §11.6 */
export function setOf(...parts: readonly Uint8Array[]): Buffer {
  return element(Tag.set, ...parts.toSorted((a, b) => Buffer.compare(a, b)));
}

/** `[number] EXPLICIT`, or an IMPLICIT SEQUENCE when given its parts. */
export function explicit(number: number, ...parts: readonly Uint8Array[]): Buffer {
  return element(contextTag(number), ...parts);
}

export function boolean(value: boolean): Buffer {
  return element(Tag.boolean, Uint8Array.of(value ? 0xff : 0));
}

/** A non-negative INTEGER. @throws {RangeError} for another number. */
export function integer(value: number): Buffer {
  if (!Number.isSafeInteger(value) || value < 0) throw new RangeError(`${value} is no non-negative integer`);
  const digits = value.toString(16);
  return serialNumber(digits.length % 2 === 0 ? digits : `0${digits}`);
}

/** A non-negative INTEGER from hexadecimal, of whole bytes, as serial numbers are written. @throws {RangeError} for another text. */
export function serialNumber(hexadecimal: string): Buffer {
  const bytes = Buffer.from(hexadecimal, "hex");
  // What is no hexadecimal ends the conversion early.
  if (bytes.length === 0 || bytes.length * 2 !== hexadecimal.length)
    throw new RangeError(`"${hexadecimal}" is no hexadecimal number`);
  let start = 0;
  while (bytes[start] === 0 && start < bytes.length - 1) start += 1;
  // A leading one would be a minus sign.
  const padding = (bytes[start] ?? 0) >= 0x80 ? 1 : 0;
  const length = bytes.length - start + padding;
  const target = Buffer.allocUnsafe(headerBytes(length) + length);
  let offset = writeHeader(target, 0, { tag: Tag.integer, length });
  if (padding === 1) target[offset++] = 0;
  bytes.copy(target, offset, start);
  return target;
}

export function enumerated(value: number): Buffer {
  if (!Number.isInteger(value) || value < 0 || value > 127)
    throw new RangeError(`${value} is not within 0 to 127`);
  return element(Tag.enumerated, Uint8Array.of(value));
}

export function octetString(content: Uint8Array): Buffer {
  return element(Tag.octetString, content);
}

/** A BIT STRING of whole bytes. */
export function bitString(content: Uint8Array): Buffer {
  return element(Tag.bitString, Uint8Array.of(0), content);
}

export function nullValue(): Buffer {
  return element(Tag.null);
}

/** @throws {RangeError} when `dotted` is none. */
export function objectIdentifier(dotted: string): Buffer {
  const arcs = /^[0-2](\.\d+)+$/.test(dotted) ? dotted.split(".").map(Number) : [];
  const [root = 3, second = 0, ...rest] = arcs;
  if (root > 2 || (root < 2 && second > 39) || !arcs.every(Number.isSafeInteger))
    throw new RangeError(`"${dotted}" is no object identifier`);
  return element(Tag.objectIdentifier, Uint8Array.from([root * 40 + second, ...rest].flatMap(base128)));
}

function base128(arc: number): number[] {
  const bytes = [arc % 128];
  for (let rest = Math.floor(arc / 128); rest > 0; rest = Math.floor(rest / 128))
    bytes.unshift(0x80 | (rest % 128));
  return bytes;
}

/** Text of ASCII alone, as in URIs and names. @throws {RangeError} for other characters. */
export function ia5String(text: string, tag: number = Tag.ia5String): Buffer {
  // All of ASCII is meant.
  // oxlint-disable-next-line no-control-regex
  if (!/^[\x00-\x7f]*$/.test(text)) throw new RangeError("the text is not all ASCII");
  return element(tag, Buffer.from(text, "ascii"));
}

/** Bytes of `YYYYMMDDHHMMSSZ`. */
const generalizedTimeBytes = 15;

function writeDigits(target: Buffer, offset: number, value: number): void {
  target[offset] = 0x30 + Math.floor(value / 10);
  target[offset + 1] = 0x30 + (value % 10);
}

/** Whole seconds, cut. A CRL has hundreds of thousands of these, so it is written digit by digit. @see RFC 5280 §4.1.2.5.2, RFC 6960 §4.2.2.1 */
export function generalizedTime(ms: number): Buffer {
  const date = new Date(ms);
  const year = date.getUTCFullYear();
  if (!(year >= 1000 && year <= 9999)) throw new RangeError(`${ms} ms is no time of the years 1000 to 9999`);
  const target = Buffer.allocUnsafe(2 + generalizedTimeBytes);
  target[0] = Tag.generalizedTime;
  target[1] = generalizedTimeBytes;
  writeDigits(target, 2, Math.floor(year / 100));
  writeDigits(target, 4, year % 100);
  writeDigits(target, 6, date.getUTCMonth() + 1);
  writeDigits(target, 8, date.getUTCDate());
  writeDigits(target, 10, date.getUTCHours());
  writeDigits(target, 12, date.getUTCMinutes());
  writeDigits(target, 14, date.getUTCSeconds());
  target[16] = 0x5a;
  return target;
}

/** UTCTime for the years 1950 to 2049, GeneralizedTime for others; whole seconds, cut. @see RFC 5280 §4.1.2.5 */
export function time(ms: number): Buffer {
  const target = generalizedTime(ms);
  const isShort = ms >= utcTimeFirstMs && ms < utcTimeEndMs;
  if (!isShort) return target;
  const short = target.subarray(2);
  short[0] = Tag.utcTime;
  short[1] = generalizedTimeBytes - 2;
  return short;
}

/** UTCTime has years of two digits, of 1950 to 2049. */
const utcTimeFirstMs = Date.UTC(1950, 0);
const utcTimeEndMs = Date.UTC(2050, 0);
