import { crc16 } from "../crc16.ts";
import { uint16 } from "../encoding.ts";
import { joined } from "../security/mmo-hash.ts";

/** How a sniffer received a frame. */
export interface Reception {
  /** Its check sequence is wrong. */
  readonly damaged?: boolean | undefined;
  /** In dBm; with it the record is one of link type 283, without of 195. */
  readonly rssi?: number | undefined;
  readonly channel?: number | undefined;
}

/** Types of the items before a frame of link type 283. @see IEEE 802.15.4 TAP, https://www.tcpdump.org/linktypes/LINKTYPE_IEEE802_15_4_TAP.html */
export const TapItem = { checkSequence: 0, strength: 1, channel: 3 } as const;
/** What the check sequence of a frame of link type 283 is. */
export const TapCheckSequence = { none: 0, crc16: 1, crc32: 2 } as const;

function item(type: number, value: Uint8Array): Uint8Array {
  const padding = new Uint8Array((4 - (value.length % 4)) % 4);
  return joined(uint16(type), uint16(value.length), value, padding);
}

function tapHeader(rssi: number, channel: number | undefined): Uint8Array {
  const items = joined(
    item(TapItem.checkSequence, Uint8Array.of(TapCheckSequence.crc16)),
    item(TapItem.strength, new Uint8Array(Float32Array.of(rssi).buffer)),
    // The page of the channels at 2.4 GHz is 0.
    channel === undefined
      ? new Uint8Array(0)
      : item(TapItem.channel, joined(uint16(channel), Uint8Array.of(0))),
  );
  return joined(uint16(0), uint16(4 + items.length), items);
}

/** A frame, given without its check sequence, as it stands in a record of link type 195 or, with its strength, of 283. */
export function recordedFrame(frame: Uint8Array, { damaged, rssi, channel }: Reception): Uint8Array {
  const check = uint16(crc16(frame, 0, frame.length) ^ (damaged === true ? 0x5a5a : 0));
  return rssi === undefined ? joined(frame, check) : joined(tapHeader(rssi, channel), frame, check);
}
