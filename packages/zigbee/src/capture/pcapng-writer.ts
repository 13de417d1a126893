import { uint16, uint32 } from "../encoding.ts";
import { crc16 } from "../crc16.ts";
import { joined } from "../security/mmo-hash.ts";

function block(type: number, body: Uint8Array): Uint8Array {
  const padding = new Uint8Array((4 - (body.length % 4)) % 4);
  const length = uint32(12 + body.length + padding.length);
  return joined(uint32(type), length, body, padding, length);
}

/** A section and its interface, of link type 195, times in microseconds. @see draft-ietf-opsawg-pcapng */
export function pcapngHeader(): Uint8Array {
  const unknownLength = new Uint8Array(8).fill(0xff);
  const section = joined(uint32(0x1a2b3c4d), uint16(1), uint16(0), unknownLength);
  return joined(block(0x0a0d0d0a, section), block(1, joined(uint16(195), uint16(0), uint32(0))));
}

/**
 * A key that shall travel with the capture, as a block of decryption secrets. `pan`: whose network key it is. A link key is written for
 * any pair of devices of that network.
 */
export function pcapngKey(key: Uint8Array, use: "network" | "link", pan: number): Uint8Array {
  const secret = use === "network" ? joined(key, uint16(pan)) : joined(key, uint16(pan), new Uint8Array(4));
  const type = use === "network" ? 0x5a4e574b : 0x5a415053;
  return block(10, joined(uint32(type), uint32(secret.length), secret));
}

/** A frame without its check sequence, which is added: a wrong one if the frame was `damaged` on its way. `timeUs` counts from 1970. */
export function pcapngRecord(timeUs: number, frame: Uint8Array, damaged = false): Uint8Array {
  const check = crc16(frame, 0, frame.length) ^ (damaged ? 0x5a5a : 0);
  const length = uint32(frame.length + 2);
  const time = joined(uint32(Math.floor(timeUs / 2 ** 32)), uint32(timeUs % 2 ** 32));
  return block(6, joined(uint32(0), time, length, length, frame, uint16(check)));
}
