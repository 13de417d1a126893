const table = Uint16Array.from({ length: 256 }, (_, byte) => {
  let crc = byte;
  for (let bit = 0; bit < 8; bit++) crc = crc & 1 ? (crc >> 1) ^ 0x8408 : crc >> 1;
  return crc;
});

/** The same for a byte that another one follows: two bytes are one step, which halves the time. */
const tableBefore = table.map((crc) => (crc >> 8) ^ (table[crc & 0xff] ?? 0));

/**
 * The reflected CRC-16 of polynomial 0x1021 over `bytes` from `start` to `end`. With initial value 0 it is the frame check
 * sequence, which stands least significant byte first. @see IEEE 802.15.4-2006 §7.2.1.9
 */
export function crc16(bytes: Uint8Array, start: number, end: number, initial = 0): number {
  let crc = initial;
  let offset = start;
  for (; offset + 1 < end; offset += 2) {
    const both = crc ^ ((bytes[offset] ?? 0) | ((bytes[offset + 1] ?? 0) << 8));
    crc = (tableBefore[both & 0xff] ?? 0) ^ (table[both >> 8] ?? 0);
  }
  if (offset < end) crc = (crc >> 8) ^ (table[(crc ^ (bytes[offset] ?? 0)) & 0xff] ?? 0);
  return crc;
}
