import { CborTagged, majorType, type CborMap, type CborValue } from "./value.ts";

/** Collects encoded items in one buffer, which grows where `bytesExpected` was too little. */
export class CborWriter {
  #buffer: Buffer<ArrayBuffer>;
  #length = 0;

  constructor(bytesExpected = 256) {
    this.#buffer = Buffer.allocUnsafe(bytesExpected);
  }

  /** The first bytes of an item: its major type and its argument in the shortest form. */
  head(major: number, argument: number | bigint): void {
    const first = major << 5;
    if (argument < 24) {
      this.#room(1);
      this.#buffer[this.#length++] = first | Number(argument);
    } else if (argument <= 0xff) {
      this.#room(2);
      this.#buffer[this.#length++] = first | 24;
      this.#buffer[this.#length++] = Number(argument);
    } else if (argument <= 0xffff) {
      this.#room(3);
      this.#buffer[this.#length++] = first | 25;
      this.#length = this.#buffer.writeUInt16BE(Number(argument), this.#length);
    } else if (argument <= 0xffff_ffff) {
      this.#room(5);
      this.#buffer[this.#length++] = first | 26;
      this.#length = this.#buffer.writeUInt32BE(Number(argument), this.#length);
    } else {
      this.#room(9);
      this.#buffer[this.#length++] = first | 27;
      this.#length = this.#buffer.writeBigUInt64BE(BigInt(argument), this.#length);
    }
  }

  bytes(bytes: Uint8Array): void {
    this.head(majorType.bytes, bytes.length);
    this.raw(bytes);
  }

  text(text: string): void {
    const bytes = Buffer.byteLength(text);
    this.head(majorType.text, bytes);
    this.#room(bytes);
    this.#length += this.#buffer.write(text, this.#length);
  }

  integer(value: number | bigint): void {
    if (typeof value === "number" && !Number.isSafeInteger(value)) {
      throw new RangeError(`${value} is not an integer that can be encoded`);
    }
    if (value >= 0) return this.head(majorType.unsigned, value);
    this.head(majorType.negative, typeof value === "number" ? -1 - value : -1n - value);
  }

  /** Bytes that are encoded already. */
  raw(bytes: Uint8Array): void {
    this.#room(bytes.length);
    this.#buffer.set(bytes, this.#length);
    this.#length += bytes.length;
  }

  value(value: CborValue): void {
    if (typeof value === "number" || typeof value === "bigint") this.integer(value);
    else if (typeof value === "string") this.text(value);
    else if (value instanceof Uint8Array) this.bytes(value);
    else if (value === false) this.head(majorType.simple, 20);
    else if (value === true) this.head(majorType.simple, 21);
    else if (value === null) this.head(majorType.simple, 22);
    else if (value === undefined) this.head(majorType.simple, 23);
    else if (value instanceof CborTagged) {
      this.head(majorType.tag, value.tag);
      this.value(value.value);
    } else if (isArray(value)) {
      this.head(majorType.array, value.length);
      for (const each of value) this.value(each);
    } else this.#map(value);
  }

  /** All that was written; nothing may be written afterwards. */
  finish(): Buffer<ArrayBuffer> {
    return this.#buffer.subarray(0, this.#length);
  }

  #map(map: CborMap): void {
    const entries = [...map].map(([key, value]) => ({ key: encodeCbor(key), value }));
    // The order of RFC 8949 §4.2.1: that of the encoded keys, byte by byte.
    entries.sort((a, b) => Buffer.compare(a.key, b.key));
    this.head(majorType.map, entries.length);
    for (const { key, value } of entries) {
      this.raw(key);
      this.value(value);
    }
  }

  #room(bytes: number): void {
    const needed = this.#length + bytes;
    if (needed <= this.#buffer.length) return;
    const larger = Buffer.allocUnsafe(Math.max(needed, 2 * this.#buffer.length));
    this.#buffer.copy(larger, 0, 0, this.#length);
    this.#buffer = larger;
  }
}

function isArray(value: readonly CborValue[] | CborMap): value is readonly CborValue[] {
  return Array.isArray(value);
}

/**
 * Deterministic: the same value always gives the same bytes. @see RFC 8949 §4.2.1
 * Throws `RangeError` for a number that is not an integer.
 */
export function encodeCbor(value: CborValue): Buffer<ArrayBuffer> {
  const writer = new CborWriter();
  writer.value(value);
  return writer.finish();
}
