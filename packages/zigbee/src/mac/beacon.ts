import { createCursor, left, readEui64, readUint16, readUint8, stop, type Stopped } from "../cursor.ts";
import { type Eui64 } from "../eui64.ts";

/** What a beacon says of its network, in MAC and Zigbee terms. @see IEEE 802.15.4-2006 §7.2.2.1, Zigbee §3.6.7 */
export interface Beacon {
  readonly associationPermit: boolean;
  readonly panCoordinator: boolean;
  /** Present when the beacon's payload is a Zigbee network's. */
  readonly zigbee: ZigbeeBeacon | undefined;
  readonly stopped: Stopped | undefined;
}

export interface ZigbeeBeacon {
  readonly stackProfile: number;
  /** 1 for Zigbee 2004, 2 since Zigbee 2006. */
  readonly protocolVersion: number;
  readonly routerCapacity: boolean;
  readonly deviceDepth: number;
  readonly endDeviceCapacity: boolean;
  readonly extendedPan: Eui64;
  readonly updateId: number;
}

/** Decodes a beacon's MAC payload. Never throws. */
export function decodeBeacon(bytes: Uint8Array, start: number, end: number): Beacon {
  const cursor = createCursor(bytes, start, end);
  const superframe = readUint16(cursor, "superframe specification");
  const guaranteed = readUint8(cursor, "GTS fields");
  const slots = guaranteed & 7;
  cursor.offset = Math.min(cursor.end, cursor.offset + (slots > 0 ? 1 + 3 * slots : 0));
  const pending = readUint8(cursor, "pending addresses");
  const pendingBytes = 2 * (pending & 7) + 8 * ((pending >> 4) & 7);
  if (pendingBytes > left(cursor)) stop(cursor, "the frame ends within its pending addresses");
  else cursor.offset += pendingBytes;

  let zigbee: ZigbeeBeacon | undefined;
  if (left(cursor) > 0 && bytes[cursor.offset] === 0) {
    cursor.offset++;
    const network = readUint16(cursor, "network specification");
    const extendedPan = readEui64(cursor, "extended PAN id");
    if (extendedPan !== undefined) {
      // Beacons of Zigbee 2004 end here; since 2006 a timestamp and the update id follow.
      cursor.offset = Math.min(cursor.end, cursor.offset + 3);
      const updateId = left(cursor) > 0 ? readUint8(cursor, "update id") : 0;
      zigbee = {
        stackProfile: network & 0xf,
        protocolVersion: (network >> 4) & 0xf,
        routerCapacity: (network & 0x400) !== 0,
        deviceDepth: (network >> 11) & 0xf,
        endDeviceCapacity: (network & 0x8000) !== 0,
        extendedPan,
        updateId,
      };
    }
  }
  return {
    associationPermit: (superframe & 0x8000) !== 0,
    panCoordinator: (superframe & 0x4000) !== 0,
    zigbee,
    stopped: cursor.stopped,
  };
}
