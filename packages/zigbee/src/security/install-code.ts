import { crc16 } from "../crc16.ts";
import { mmoHash } from "./mmo-hash.ts";

/** Bytes an install code may have before its two bytes of CRC. @see Zigbee Base Device Behavior §10.1.1 */
const codeBytes: ReadonlySet<number> = new Set([6, 8, 12, 16]);

/** The CRC of an install code: CRC-16/X-25, least significant byte first. */
export function installCodeCrc(code: Uint8Array): Uint8Array {
  const crc = crc16(code, 0, code.length, 0xffff) ^ 0xffff;
  return Uint8Array.of(crc, crc >> 8);
}

/**
 * The link key that an install code, with its CRC, stands for; `undefined` when its length or its CRC is wrong.
 * @see Zigbee Base Device Behavior §10.1
 */
export function installCodeKey(codeWithCrc: Uint8Array): Uint8Array | undefined {
  const code = codeWithCrc.subarray(0, -2);
  if (!codeBytes.has(code.length)) return undefined;
  const crc = installCodeCrc(code);
  if (crc[0] !== codeWithCrc.at(-2) || crc[1] !== codeWithCrc.at(-1)) return undefined;
  return mmoHash(codeWithCrc);
}
