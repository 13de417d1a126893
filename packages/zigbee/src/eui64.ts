declare const eui64Brand: unique symbol;

/** A 64-bit extended address as people write it: `00:0d:6f:00:01:02:03:04`, the most significant byte first. */
export type Eui64 = string & { readonly [eui64Brand]: true };

/** Addresses that were written once; a flood of invented ones empties it. Bounds memory at some 10 MB. */
const internedMax = 65_536;
const interned = new Map<number, Map<number, Eui64>>();
let internedCount = 0;

/** Two digits of each byte. */
const hexDigits: readonly string[] = Array.from({ length: 256 }, (_, byte) =>
  byte.toString(16).padStart(2, "0"),
);

/** The address that stands little-endian at `offset`, as in a frame. Bytes that are not there count as 0. */
export function eui64At(bytes: Uint8Array, offset: number): Eui64 {
  const low =
    (bytes[offset] ?? 0) |
    ((bytes[offset + 1] ?? 0) << 8) |
    ((bytes[offset + 2] ?? 0) << 16) |
    ((bytes[offset + 3] ?? 0) << 24);
  const high =
    (bytes[offset + 4] ?? 0) |
    ((bytes[offset + 5] ?? 0) << 8) |
    ((bytes[offset + 6] ?? 0) << 16) |
    ((bytes[offset + 7] ?? 0) << 24);
  const found = interned.get(high)?.get(low);
  return found ?? intern(high, low);
}

/** The one place that makes an address of text, of eight pairs of lower-case digits. */
function branded(pairs: readonly string[]): Eui64 {
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- a brand has no other constructor
  return pairs.join(":") as Eui64;
}

function intern(high: number, low: number): Eui64 {
  if (internedCount >= internedMax) {
    interned.clear();
    internedCount = 0;
  }
  const digits: string[] = [];
  for (const word of [high, low]) {
    for (let shift = 24; shift >= 0; shift -= 8) digits.push(hexDigits[(word >>> shift) & 0xff] ?? "");
  }
  const address = branded(digits);
  const row = interned.get(high) ?? new Map<number, Eui64>();
  interned.set(high, row.set(low, address));
  internedCount++;
  return address;
}

/** Reads `00:0d:6f:00:01:02:03:04`, with `:`, `-`, `0x` or nothing between; `undefined` when it is not an address. */
export function parseEui64(text: string): Eui64 | undefined {
  const digits = text.replace(/^0x/i, "").replaceAll(/[:-]/g, "").toLowerCase();
  if (!/^[0-9a-f]{16}$/.test(digits)) return undefined;
  return branded(digits.match(/../g) ?? []);
}

/** The eight bytes of `address` in the order of a frame: least significant first. */
export function eui64Bytes(address: Eui64): Uint8Array {
  return Uint8Array.from(address.split(":"), (digits) => Number.parseInt(digits, 16)).toReversed();
}
