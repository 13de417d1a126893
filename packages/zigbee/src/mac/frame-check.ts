import { crc16 } from "../crc16.ts";

/** What a sniffer left behind the MAC frame: the check sequence, the metadata of TI radios in its place, two bytes that say nothing, or nothing. */
export type FrameCheckFormat = "crc" | "ti" | "unchecked" | "none";

/** Whether the last two bytes of `bytes[start…end)` are the CRC of those before. @see IEEE 802.15.4-2006 §7.2.1.9 */
export function frameCheckMatches(bytes: Uint8Array, start = 0, end: number = bytes.length): boolean {
  const at = end - 2;
  if (at - start < 1) return false;
  return crc16(bytes, start, at) === ((bytes[at] ?? 0) | ((bytes[at + 1] ?? 0) << 8));
}

/** What a TI CC24xx or CC25xx puts in place of the CRC: RSSI in dB, and whether the CRC was right. */
export function tiMetadata(bytes: Uint8Array): { readonly rssi: number; readonly crcOk: boolean } {
  const raw = bytes.at(-2) ?? 0;
  return { rssi: (raw > 127 ? raw - 256 : raw) - 73, crcOk: ((bytes.at(-1) ?? 0) & 0x80) !== 0 };
}
