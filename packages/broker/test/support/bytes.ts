/**
 * Bytes of the wire, put together by hand. The tests do not use the broker's own codec: a fault that encoder and
 * decoder share would stay hidden.
 */

/** Some bytes as they are. */
export function raw(...values: number[]): Uint8Array {
  return Uint8Array.from(values);
}

export function u16(value: number): Uint8Array {
  return raw(value >>> 8, value & 0xff);
}

export function u32(value: number): Uint8Array {
  return raw(value >>> 24, (value >>> 16) & 0xff, (value >>> 8) & 0xff, value & 0xff);
}

export function concat(...parts: Uint8Array[]): Uint8Array {
  return Buffer.concat(parts);
}

/** The UTF-8 bytes of a string, or the bytes given, which may be anything. */
export function utf8(content: string | Uint8Array): Uint8Array {
  return typeof content === "string" ? Buffer.from(content, "utf8") : content;
}

/** A UTF-8 Encoded String or Binary Data: two bytes of length, then the content, valid or not. */
export function field(content: string | Uint8Array): Uint8Array {
  const bytes = utf8(content);
  return concat(u16(bytes.length), bytes);
}

export function variableByteInteger(value: number): Uint8Array {
  const bytes: number[] = [];
  let rest = value;
  do {
    const digit = rest % 128;
    rest = Math.floor(rest / 128);
    bytes.push(rest > 0 ? digit | 0x80 : digit);
  } while (rest > 0);
  return raw(...bytes);
}

/** A control packet: its first byte, its true remaining length, and its body. */
export function packet(firstByte: number, ...body: Uint8Array[]): Uint8Array {
  const bytes = concat(...body);
  return concat(raw(firstByte), variableByteInteger(bytes.length), bytes);
}
