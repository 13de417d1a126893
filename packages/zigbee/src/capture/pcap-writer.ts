import { uint16, uint32 } from "../encoding.ts";
import { joined } from "../security/mmo-hash.ts";
import { LinkType } from "./link-type.ts";
import { recordedFrame, type Reception } from "./recorded-frame.ts";

/** The header of a pcap file with microseconds. `linkType`: 195, or 283 where each frame has a strength. */
export function pcapHeader(linkType: number = LinkType.withFcs): Uint8Array {
  const versions = joined(uint32(0xa1b2c3d4), uint16(2), uint16(4));
  return joined(versions, new Uint8Array(8), uint32(0x40000), uint32(linkType));
}

/** A record of a frame without its check sequence, which is added. `timeUs` counts from 1970. */
export function pcapRecord(timeUs: number, frame: Uint8Array, reception: Reception = {}): Uint8Array {
  const recorded = recordedFrame(frame, reception);
  const length = uint32(recorded.length);
  const time = joined(uint32(Math.floor(timeUs / 1e6)), uint32(timeUs % 1e6));
  return joined(time, length, length, recorded);
}
