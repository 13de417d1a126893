/**
 * What we read and write of CBOR: integers, strings, arrays, maps with integer or text keys, tags, and the four simple values.
 * Floating point numbers are not among them: nothing that we exchange has any. @see RFC 8949
 */
export type CborValue =
  | number
  | bigint
  | string
  | Uint8Array
  | boolean
  | null
  | undefined
  | readonly CborValue[]
  | CborMap
  | CborTagged;

export type CborKey = number | bigint | string;

export type CborMap = ReadonlyMap<CborKey, CborValue>;

/** A value with a tag before it. */
export class CborTagged {
  readonly tag: number;
  readonly value: CborValue;

  constructor(tag: number, value: CborValue) {
    this.tag = tag;
    this.value = value;
  }
}

/** The three highest bits of an item's first byte. @see RFC 8949 §3.1 */
export const majorType = {
  unsigned: 0,
  negative: 1,
  bytes: 2,
  text: 3,
  array: 4,
  map: 5,
  tag: 6,
  simple: 7,
} as const;

/** Arrays, maps and tags within each other; what we exchange needs 8. */
export const depthMax = 16;

/** Items in one encoding, so that many empty ones cannot make up for few large ones. */
export const itemsMax = 65_536;
