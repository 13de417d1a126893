import { isUtf8 } from "node:buffer";

import { CborTagged, depthMax, itemsMax, majorType, type CborKey, type CborValue } from "./value.ts";

export type CborResult =
  | { readonly kind: "value"; readonly value: CborValue }
  | { readonly kind: "malformed"; readonly reason: string };

export interface CborDecodeOptions {
  /**
   * `deterministic` (the default) accepts one encoding for each value: what `encodeCbor` writes. `preferred` is for what others
   * wrote: keys of a map in any order, and lengths and integers not in the shortest form. @see RFC 8949 §4.1, §4.2.1
   */
  readonly form?: "deterministic" | "preferred";
  /** `itemsMax` of `value.ts` unless given; for what we wrote ourselves, and may have more of. */
  readonly items?: number;
}

/**
 * Decodes one item that takes up all the bytes. Never throws. Refuses what has no place in what we exchange: indefinite lengths,
 * floating point, keys that are neither integer nor text, a key twice, and more depth or items than `value.ts` names; nothing is
 * allocated for a length before that many bytes are there. Byte strings are views into `bytes`.
 */
export function decodeCbor(bytes: Uint8Array, options: CborDecodeOptions = {}): CborResult {
  const decoder = new Decoder(bytes, options);
  const value = decoder.item(0);
  if (decoder.fault === undefined && decoder.offset < bytes.length) {
    decoder.fault = `${bytes.length - decoder.offset} bytes follow the item`;
  }
  return decoder.fault === undefined
    ? { kind: "value", value }
    : { kind: "malformed", reason: `${decoder.fault} (at byte ${decoder.offset})` };
}

/** The first fault ends everything: after it all methods return at once, and what they return is not looked at. */
class Decoder {
  fault: string | undefined;
  offset = 0;
  readonly #bytes: Buffer;
  readonly #deterministic: boolean;
  readonly #itemsMax: number;
  #items = 0;
  #argument: number | bigint = 0;

  constructor(bytes: Uint8Array, { form, items = itemsMax }: CborDecodeOptions) {
    this.#bytes = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
    this.#deterministic = form !== "preferred";
    this.#itemsMax = items;
  }

  item(depth: number): CborValue {
    if (depth > depthMax) return this.#fail(`more than ${depthMax} levels`);
    if (++this.#items > this.#itemsMax) return this.#fail(`more than ${this.#itemsMax} items`);
    const major = this.#head();
    if (this.fault !== undefined) return undefined;
    switch (major) {
      case majorType.unsigned:
        return this.#argument;
      case majorType.negative:
        return negative(this.#argument);
      case majorType.bytes:
        return this.#string();
      case majorType.text:
        return this.#text();
      case majorType.array:
        return this.#array(depth);
      case majorType.map:
        return this.#map(depth);
      case majorType.tag: {
        const tag = this.#argument;
        if (typeof tag === "bigint") return this.#fail("a tag beyond 2^53");
        return new CborTagged(tag, this.item(depth + 1));
      }
      default:
        return this.#simple();
    }
  }

  /** Reads the first bytes of an item. @returns its major type; the argument is in `#argument`. */
  #head(): number {
    const first = this.#bytes[this.offset];
    if (first === undefined) return this.#fail("the bytes end within the item") ?? 0;
    const short = first & 0x1f;
    const major = first >> 5;
    if (short < 24) {
      this.offset++;
      this.#argument = short;
      return major;
    }
    if (short > 27) return this.#fail(short === 31 ? "an indefinite length" : "a reserved length") ?? 0;
    const width = 1 << (short - 24);
    if (this.offset + 1 + width > this.#bytes.length) {
      return this.#fail("the bytes end within the item") ?? 0;
    }
    if (major === majorType.simple && short > 24) return this.#fail("a floating point number") ?? 0;
    const at = this.offset + 1;
    if (width < 8) this.#argument = this.#bytes.readUIntBE(at, width);
    else {
      const wide = this.#bytes.readBigUInt64BE(at);
      this.#argument = wide <= Number.MAX_SAFE_INTEGER ? Number(wide) : wide;
    }
    const least = short === 24 ? 24 : 2 ** (4 * width);
    if (this.#deterministic && this.#argument < least) return this.#fail("not the shortest form") ?? 0;
    this.offset = at + width;
    return major;
  }

  #string(): Buffer {
    const length = this.#argument;
    if (length > this.#bytes.length - this.offset) {
      this.#fail("a string longer than the bytes");
      return this.#bytes;
    }
    const start = this.offset;
    this.offset += Number(length);
    return this.#bytes.subarray(start, this.offset);
  }

  #text(): string {
    const bytes = this.#string();
    if (this.fault !== undefined) return "";
    if (!isUtf8(bytes)) this.#fail("a text that is not UTF-8");
    return bytes.toString("utf8");
  }

  #array(depth: number): CborValue[] {
    const values: CborValue[] = [];
    // Each item takes a byte at least.
    if (this.#argument > this.#bytes.length - this.offset) this.#fail("an array longer than the bytes");
    const length = Number(this.#argument);
    for (let index = 0; index < length && this.fault === undefined; index++)
      values.push(this.item(depth + 1));
    return values;
  }

  #map(depth: number): Map<CborKey, CborValue> {
    const map = new Map<CborKey, CborValue>();
    if (this.#argument > (this.#bytes.length - this.offset) / 2) this.#fail("a map longer than the bytes");
    const length = Number(this.#argument);
    let before: Buffer | undefined;
    for (let index = 0; index < length && this.fault === undefined; index++) {
      const start = this.offset;
      const key = this.item(depth + 1);
      if (this.fault !== undefined) break;
      if (typeof key !== "number" && typeof key !== "string" && typeof key !== "bigint") {
        this.#fail("a key that is neither an integer nor a text");
        break;
      }
      if (map.has(key)) this.#fail("a key that was there before");
      const encoded = this.#bytes.subarray(start, this.offset);
      if (this.#deterministic && before !== undefined && Buffer.compare(before, encoded) > 0) {
        this.#fail("keys out of order");
      }
      before = encoded;
      map.set(key, this.item(depth + 1));
    }
    return map;
  }

  #simple(): CborValue {
    switch (this.#argument) {
      case 20:
        return false;
      case 21:
        return true;
      case 22:
        return null;
      case 23:
        return undefined;
      default:
        return this.#fail("a simple value without a meaning");
    }
  }

  #fail(reason: string): undefined {
    this.fault ??= reason;
    return undefined;
  }
}

function negative(argument: number | bigint): number | bigint {
  if (typeof argument === "number" && argument < Number.MAX_SAFE_INTEGER) return -1 - argument;
  const value = -1n - BigInt(argument);
  return value >= Number.MIN_SAFE_INTEGER ? Number(value) : value;
}
