import { uint16, uint32 } from "../encoding.ts";
import { joined } from "../security/mmo-hash.ts";
import { LinkType } from "./link-type.ts";
import { recordedFrame, type Reception } from "./recorded-frame.ts";

function block(type: number, body: Uint8Array): Uint8Array {
  const padding = new Uint8Array((4 - (body.length % 4)) % 4);
  const length = uint32(12 + body.length + padding.length);
  return joined(uint32(type), length, body, padding, length);
}

/** A section and its interface, times in microseconds. `linkType`: as for pcap. @see draft-ietf-opsawg-pcapng */
export function pcapngHeader(linkType: number = LinkType.withFcs): Uint8Array {
  const unknownLength = new Uint8Array(8).fill(0xff);
  const section = joined(uint32(0x1a2b3c4d), uint16(1), uint16(0), unknownLength);
  return joined(block(0x0a0d0d0a, section), block(1, joined(uint16(linkType), uint16(0), uint32(0))));
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

/** A frame without its check sequence, which is added. `timeUs` counts from 1970. */
export function pcapngRecord(timeUs: number, frame: Uint8Array, reception: Reception = {}): Uint8Array {
  const recorded = recordedFrame(frame, reception);
  const length = uint32(recorded.length);
  const time = joined(uint32(Math.floor(timeUs / 2 ** 32)), uint32(timeUs % 2 ** 32));
  return block(6, joined(uint32(0), time, length, length, recorded));
}
