/*
 * Parts of a frame as they are sent: integers least significant byte first (IEEE 802.15.4-2006 §7.2, Zigbee §1.2.1.3).
 */

/** Two bytes of an unsigned integer. */
export function uint16(value: number): Uint8Array {
  return Uint8Array.of(value, value >> 8);
}

/** Four bytes of an unsigned integer. */
export function uint32(value: number): Uint8Array {
  return Uint8Array.of(value, value >>> 8, value >>> 16, value >>> 24);
}

/** One byte. */
export function uint8(value: number): Uint8Array {
  return Uint8Array.of(value);
}
