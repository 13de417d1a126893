import { crc16 } from "../crc16.ts";
import { uint16, uint32 } from "../encoding.ts";
import { joined } from "../security/mmo-hash.ts";

/** The header of a pcap file with microseconds, of link type 195: frames end with their check sequence. */
export function pcapHeader(): Uint8Array {
  const versions = joined(uint32(0xa1b2c3d4), uint16(2), uint16(4));
  return joined(versions, new Uint8Array(8), uint32(0x40000), uint32(195));
}

/**
 * A record of a frame without its check sequence, which is added: a wrong one if the frame was `damaged` on its way.
 * `timeUs` counts from 1970.
 */
export function pcapRecord(timeUs: number, frame: Uint8Array, damaged = false): Uint8Array {
  const check = crc16(frame, 0, frame.length) ^ (damaged ? 0x5a5a : 0);
  const length = uint32(frame.length + 2);
  const time = joined(uint32(Math.floor(timeUs / 1e6)), uint32(timeUs % 1e6));
  return joined(time, length, length, frame, uint16(check));
}

/** How long the record of a frame is: header and check sequence come to it. */
export function recordBytes(frame: Uint8Array): number {
  return 16 + frame.length + 2;
}
