import { Tag } from "./tag.ts";

/**
 * A place in untrusted DER. Whatever is wrong (cut short, another tag, not the one encoding DER allows) sets `failure`;
 * later reads then return empty values, and the decoder looks at `failure` once, in {@link finish}. The first failure stays.
 *
 * Nothing is copied and nothing recurses: a decoder enters and leaves constructed values in the order of its ASN.1, so the
 * depth is that of the decoder's text, and each read costs no more than the bytes it passes.
 *
 * ```text
 *   const outer = enter(reader, Tag.sequence, "CertificateList");   end ──► end of the SEQUENCE
 *   …                                                               reads stay within it
 *   leave(reader, outer, "CertificateList");                        end ──► outer; left-over bytes are a failure
 * ```
 * @see X.690 §8, §10 (Distinguished Encoding Rules)
 */
export interface DerReader {
  readonly bytes: Uint8Array;
  offset: number;
  end: number;
  /** One phrase for a log: what was found where. Never quotes the bytes. */
  failure: string | undefined;
}

/** What a decoder returns. */
export type Decoded<T> =
  | { readonly kind: "value"; readonly value: T }
  | { readonly kind: "malformed"; readonly reason: string };

const noBytes = new Uint8Array(0);

/** An object identifier has at most this many bytes; ours and those of X.509 have less than 16. */
const oidBytesMax = 64;
/** A serial number may have 20 bytes (RFC 5280 §4.1.2.2); some authorities write one or two more. */
const integerBytesMax = 64;

export function createDerReader(bytes: Uint8Array, start = 0, end = bytes.length): DerReader {
  return { bytes, offset: start, end, failure: undefined };
}

/** Notes what is wrong, unless something was wrong before. */
export function fail(reader: DerReader, reason: string): void {
  reader.failure ??= `${reason} (byte ${reader.offset})`;
  reader.offset = reader.end;
}

/** Whether anything is left in the value that was entered last. */
export function hasMore(reader: DerReader): boolean {
  return reader.failure === undefined && reader.offset < reader.end;
}

/** The next identifier octet, or -1 when nothing is left. */
export function peekTag(reader: DerReader): number {
  return hasMore(reader) ? (reader.bytes[reader.offset] ?? -1) : -1;
}

/**
 * Passes over identifier and length of the next element; `tag` -1 takes any.
 * @returns where its content ends; on failure -1.
 */
function passHeader(reader: DerReader, tag: number, field: string): number {
  if (reader.failure !== undefined) return -1;
  const { bytes, end } = reader;
  let { offset } = reader;
  const found = offset < end ? (bytes[offset++] ?? -1) : -1;
  if (found === -1) return failHeader(reader, `it ends before its ${field}`);
  if ((found & 0x1f) === 0x1f) return failHeader(reader, `the ${field} has a tag of several bytes`);
  if (tag !== -1 && found !== tag) {
    return failHeader(reader, `the ${field} has the tag ${hex(found)} instead of ${hex(tag)}`);
  }
  let length = offset < end ? (bytes[offset++] ?? -1) : -1;
  if (length > 0x80) {
    let count = length & 0x7f;
    // Four bytes tell of more than any buffer holds.
    if (count > 4) return failHeader(reader, `the length of its ${field} has ${count} bytes`);
    if (offset + count > end) return failHeader(reader, `it ends within the length of its ${field}`);
    const first = bytes[offset] ?? 0;
    if (first === 0) return failHeader(reader, `the length of its ${field} is not in its shortest form`);
    length = 0;
    for (; count > 0; count -= 1) length = length * 256 + (bytes[offset++] ?? 0);
    if (length < 0x80) return failHeader(reader, `the length of its ${field} is not in its shortest form`);
  } else if (length === 0x80) {
    return failHeader(reader, `the ${field} has an indefinite length, which is not DER`);
  }
  if (length === -1 || length > end - offset) return failHeader(reader, `it ends within its ${field}`);
  reader.offset = offset;
  return offset + length;
}

function failHeader(reader: DerReader, reason: string): -1 {
  fail(reader, reason);
  return -1;
}

function hex(tag: number): string {
  return `0x${tag.toString(16).padStart(2, "0")}`;
}

/** Goes into the next element: until {@link leave}, reads end where it ends. @returns what `leave` needs to come back. */
export function enter(reader: DerReader, tag: number, field: string): number {
  const outer = reader.end;
  const end = passHeader(reader, tag, field);
  if (end !== -1) reader.end = end;
  return outer;
}

/** Comes back from {@link enter}; what is left over in the element is a failure. */
export function leave(reader: DerReader, outer: number, field: string): void {
  if (reader.offset < reader.end)
    fail(reader, `${reader.end - reader.offset} bytes follow the last field of its ${field}`);
  reader.end = outer;
}

/** The content of the next element, not copied; no bytes on failure. */
export function readContent(reader: DerReader, tag: number, field: string): Uint8Array {
  const end = passHeader(reader, tag, field);
  if (end === -1) return noBytes;
  const content = reader.bytes.subarray(reader.offset, end);
  reader.offset = end;
  return content;
}

/** The whole next element with its identifier and length, not copied; `tag` -1 takes any; no bytes on failure. */
export function readElement(reader: DerReader, tag: number, field: string): Uint8Array {
  const start = reader.offset;
  const end = passHeader(reader, tag, field);
  if (end === -1) return noBytes;
  reader.offset = end;
  return reader.bytes.subarray(start, end);
}

/** Passes over the next element, whatever it is. */
export function skip(reader: DerReader, field: string): void {
  const end = passHeader(reader, -1, field);
  if (end !== -1) reader.offset = end;
}

/** @see X.690 §11.1: TRUE is 0xff and nothing else. */
export function readBoolean(reader: DerReader, field: string): boolean {
  const content = readContent(reader, Tag.boolean, field);
  if (reader.failure !== undefined) return false;
  const [value] = content;
  if (content.length === 1 && (value === 0 || value === 0xff)) return value === 0xff;
  fail(reader, `the ${field} is no BOOLEAN of DER`);
  return false;
}

function readIntegerContent(reader: DerReader, tag: number, field: string): Uint8Array {
  const content = readContent(reader, tag, field);
  if (reader.failure !== undefined) return noBytes;
  const [first = 0, second = 0] = content;
  const padded = content.length > 1 && ((first === 0 && second < 0x80) || (first === 0xff && second >= 0x80));
  if (content.length > 0 && content.length <= integerBytesMax && !padded) return content;
  fail(reader, `the ${field} is empty, too long or not in its shortest form`);
  return noBytes;
}

/** A small INTEGER (or `tag` ENUMERATED) of 0 to 2^48 - 1; 0 on failure. */
export function readSmallInteger(reader: DerReader, field: string, tag: number = Tag.integer): number {
  const content = readIntegerContent(reader, tag, field);
  if (reader.failure !== undefined) return 0;
  if ((content[0] ?? 0) >= 0x80 || content.length > (content[0] === 0 ? 7 : 6)) {
    fail(reader, `the ${field} is negative or too large`);
    return 0;
  }
  return content.reduce((value, byte) => value * 256 + byte, 0);
}

/**
 * A non-negative INTEGER of any size as upper-case hexadecimal without leading zeros of bytes, as node:crypto writes serial
 * numbers ("01", "7F3A…"); "" on failure. @see RFC 5280 §4.1.2.2
 */
export function readSerialNumber(reader: DerReader, field: string): string {
  const content = readIntegerContent(reader, Tag.integer, field);
  if (reader.failure !== undefined) return "";
  if ((content[0] ?? 0) >= 0x80) {
    fail(reader, `the ${field} is negative`);
    return "";
  }
  const start = content[0] === 0 && content.length > 1 ? 1 : 0;
  return Buffer.from(content.buffer, content.byteOffset + start, content.length - start)
    .toString("hex")
    .toUpperCase();
}

/** An OBJECT IDENTIFIER with dots; "" on failure. @see X.690 §8.19 */
export function readObjectIdentifier(reader: DerReader, field: string): string {
  const content = readContent(reader, Tag.objectIdentifier, field);
  if (reader.failure !== undefined) return "";
  const text = content.length > oidBytesMax ? undefined : decodeObjectIdentifier(content);
  if (text !== undefined) return text;
  fail(reader, `the ${field} is no object identifier`);
  return "";
}

function decodeObjectIdentifier(content: Uint8Array): string | undefined {
  const arcs: number[] = [];
  let arc = 0;
  let begun = false;
  for (const byte of content) {
    if (!begun && byte === 0x80) return undefined;
    begun = byte >= 0x80;
    arc = arc * 128 + (byte & 0x7f);
    if (arc > Number.MAX_SAFE_INTEGER) return undefined;
    if (!begun) {
      arcs.push(arc);
      arc = 0;
    }
  }
  const [first, ...rest] = arcs;
  if (first === undefined || begun) return undefined;
  const root = Math.min(Math.floor(first / 40), 2);
  return [root, first - root * 40, ...rest].join(".");
}

/** The bytes of a BIT STRING of whole bytes, as keys and signatures are, not copied; no bytes on failure. */
export function readBitString(reader: DerReader, field: string): Uint8Array {
  const content = readContent(reader, Tag.bitString, field);
  if (reader.failure !== undefined) return noBytes;
  if (content[0] === 0) return content.subarray(1);
  fail(reader, `the ${field} is no BIT STRING of whole bytes`);
  return noBytes;
}

/** A BIT STRING of named bits, bit 0 first: `named & (1 << n)`; of more than 16 bits the first 16. @see X.690 §11.2 */
export function readNamedBits(reader: DerReader, field: string, tag: number = Tag.bitString): number {
  const content = readContent(reader, tag, field);
  if (reader.failure !== undefined) return 0;
  const [unused = 8, first = 0, second = 0] = content;
  const last = content.length > 1 ? (content.at(-1) ?? 0) : 0;
  if (unused > 7 || (content.length === 1 && unused !== 0) || (last & ((1 << unused) - 1)) !== 0) {
    fail(reader, `the ${field} is no BIT STRING of DER`);
    return 0;
  }
  let named = 0;
  for (let bit = 0; bit < 16; bit += 1) {
    if (((bit < 8 ? first : second) & (0x80 >> (bit % 8))) !== 0) named |= 1 << bit;
  }
  return named;
}

/** A GeneralizedTime as OCSP has it, or, where `either` is allowed, also an UTCTime: ms since 1970; 0 on failure. @see RFC 5280 §4.1.2.5 */
export function readTime(
  reader: DerReader,
  field: string,
  allowed: "generalized" | "either" = "either",
): number {
  const short = allowed === "either" && peekTag(reader) === Tag.utcTime;
  const content = readContent(reader, short ? Tag.utcTime : Tag.generalizedTime, field);
  if (reader.failure !== undefined) return 0;
  const ms = decodeTime(content, short ? 2 : 4);
  if (ms !== undefined) return ms;
  fail(reader, `the ${field} is no time in whole seconds of UTC`);
  return 0;
}

function decodeTime(content: Uint8Array, yearDigits: number): number | undefined {
  if (content.length !== yearDigits + 11 || content[content.length - 1] !== 0x5a) return undefined;
  let at = 0;
  const digits = (count: number): number => {
    let value = 0;
    for (; count > 0; count -= 1) {
      const digit = (content[at++] ?? 0) - 0x30;
      value = digit >= 0 && digit <= 9 ? value * 10 + digit : Number.NaN;
    }
    return value;
  };
  const written = digits(yearDigits);
  const year = yearDigits === 4 ? written : written + (written < 50 ? 2000 : 1900);
  const month = digits(2);
  const day = digits(2);
  const hour = digits(2);
  const minute = digits(2);
  const second = digits(2);
  const ms = Date.UTC(year, month - 1, day, hour, minute, second);
  // Years below 100 mean others to Date; none of ours is below 1950. What rolls over (30 February) comes back as another day.
  const isSame =
    year >= 1000 && day > 0 && new Date(ms).getUTCDate() === day && hour < 24 && minute < 60 && second < 60;
  return isSame && month >= 1 && month <= 12 ? ms : undefined;
}

/** The value, unless reading failed or bytes are left. */
export function finish<T>(reader: DerReader, value: T): Decoded<T> {
  if (hasMore(reader)) fail(reader, `${reader.end - reader.offset} bytes follow its end`);
  return reader.failure === undefined
    ? { kind: "value", value }
    : { kind: "malformed", reason: reader.failure };
}
