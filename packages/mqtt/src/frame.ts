import { PacketType, type ProtocolVersion } from "./packets.ts";

/** What `readFrame` found. */
export const FrameResult = {
  /** The whole packet is there: its body is at `bodyStart` to `bodyEnd`. */
  complete: 0,
  /** More bytes are needed; `frame` holds what is known of the packet so far. */
  incomplete: 1,
  /** No packet can begin like this: Malformed Packet (0x81). */
  malformed: 2,
  /** The packet says that it is larger than allowed: Packet too large (0x95). Told as soon as its length is known. */
  tooLarge: 3,
} as const;
export type FrameResult = (typeof FrameResult)[keyof typeof FrameResult];

/** Where a packet lies in a buffer. Filled in anew by each `readFrame`. */
export interface Frame {
  /** The packet type, 0 to 15; 0 while not one byte of the packet is there. */
  type: number;
  /** The low four bits of the first byte. */
  flags: number;
  /** Offset of the packet's first byte. */
  start: number;
  /** Offset of its body, after the fixed header; -1 while the remaining length is not known. */
  bodyStart: number;
  /** Offset after its body, which may lie beyond the bytes that are there; -1 while the remaining length is not known. */
  bodyEnd: number;
}

/** A frame for `readFrame` to fill in. */
export function createFrame(): Frame {
  return { type: 0, flags: 0, start: 0, bodyStart: -1, bodyEnd: -1 };
}

/**
 * Reads the fixed header at `offset` of what was received up to `end`. `packetBytesMax` bounds the whole packet with
 * its fixed header. Fills `frame` in whatever the result; the flags and packet type 15 before MQTT 5 are for the
 * caller to check. A remaining length in more bytes than it needs is malformed, except where `version` is given as 3
 * or 4, which do not forbid it.
 *
 *     bit   7 6 5 4   3 2 1 0
 *         | type    | flags   |   then the remaining length, one to four bytes of seven bits, lowest first
 *
 * @see MQTT 5.0 §2.1, §1.5.5; MQTT 3.1.1 §2.2.3
 */
export function readFrame(
  bytes: Buffer,
  offset: number,
  end: number,
  packetBytesMax: number,
  frame: Frame,
  version: ProtocolVersion = 5,
): FrameResult {
  frame.type = 0;
  frame.flags = 0;
  frame.start = offset;
  frame.bodyStart = -1;
  frame.bodyEnd = -1;
  if (offset >= end) return FrameResult.incomplete;
  const first = bytes[offset] ?? 0;
  frame.type = first >> 4;
  frame.flags = first & 0x0f;
  if (frame.type === 0) return FrameResult.malformed;

  let remaining = 0;
  for (let index = 0; index < 4; index++) {
    const at = offset + 1 + index;
    if (at >= end) return FrameResult.incomplete;
    const byte = bytes[at] ?? 0;
    remaining |= (byte & 0x7f) << (7 * index);
    if (byte > 0x7f) continue;
    if (byte === 0 && index > 0 && version === 5) return FrameResult.malformed;
    frame.bodyStart = at + 1;
    frame.bodyEnd = at + 1 + remaining;
    if (frame.bodyEnd - offset > packetBytesMax) return FrameResult.tooLarge;
    return frame.bodyEnd <= end ? FrameResult.complete : FrameResult.incomplete;
  }
  return FrameResult.malformed;
}

const dupFlag = 0b1000;

/** The flags each packet type must have, from CONNECT on; -1 for PUBLISH, where they mean something. @see MQTT 5.0 §2.1.3, Table 2-2 */
const requiredFlags: readonly number[] = [-1, 0, 0, -1, 0, 0, 0b0010, 0, 0b0010, 0, 0b0010, 0, 0, 0, 0, 0];

/**
 * Whether a packet of this type may have these flags. PUBLISH must have no QoS 3 and no DUP with QoS 0. Where
 * `version` is given as 3, the flags of other packets are not looked at: MQTT 3.1 leaves them unused, but for DUP on
 * repeated PUBREL, SUBSCRIBE and UNSUBSCRIBE.
 * @see MQTT 5.0 §2.1.3 [MQTT-2.1.3-1], §3.3.1 [MQTT-3.3.1-2] [MQTT-3.3.1-4]; MQTT 3.1 §2.1
 */
export function fixedHeaderFlagsValid(type: number, flags: number, version: ProtocolVersion = 5): boolean {
  if (type === PacketType.publish) {
    const qos = (flags >> 1) & 3;
    return qos !== 3 && (qos !== 0 || (flags & dupFlag) === 0);
  }
  return version === 3 || requiredFlags[type] === flags;
}
