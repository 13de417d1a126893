import { createCursor, left, readEui64, readUint16, readUint8, stop, type Stopped } from "../cursor.ts";
import { type Eui64 } from "../eui64.ts";
import { type AuxiliaryHeader, readAuxiliaryHeader } from "../security/auxiliary-header.ts";

/** @see Zigbee Table 3-38 */
export const NwkFrameType = { data: 0, command: 1, interPan: 3 } as const;

/**
 * A NWK frame's header. The payload, with the integrity code when `security` is on, is
 * `bytes[payloadStart…payloadEnd)`. When `stopped` is set, what stands before that place is valid.
 * @see Zigbee §3.3
 */
export interface NwkFrame {
  readonly start: number;
  readonly frameControl: number;
  readonly frameType: number;
  readonly protocolVersion: number;
  readonly security: boolean;
  readonly destinationShort: number;
  readonly sourceShort: number;
  readonly radius: number;
  readonly sequence: number;
  readonly destination: Eui64 | undefined;
  readonly source: Eui64 | undefined;
  /** -1 without the field. */
  readonly multicastControl: number;
  /** The relays of a source route, next to the destination first; `undefined` without one. */
  readonly relays: readonly number[] | undefined;
  readonly auxiliary: AuxiliaryHeader | undefined;
  readonly payloadStart: number;
  readonly payloadEnd: number;
  readonly stopped: Stopped | undefined;
}

/** The protocol version of Zigbee since 2006 (Zigbee PRO). */
export const zigbeeProVersion = 2;
/** The protocol version of Green Power frames. */
export const greenPowerVersion = 3;

/** What the first two bytes of a MAC payload would be as a NWK frame control: type, version, and whether it can be one. */
export function peekNwkFrameControl(bytes: Uint8Array, start: number, end: number): number {
  return start + 2 <= end ? (bytes[start] ?? 0) | ((bytes[start + 1] ?? 0) << 8) : -1;
}

/**
 * Whether a frame control may be that of a Zigbee PRO frame: version 2, a defined type and no reserved bit. Frames of
 * RF4CE and 6LoWPAN differ in it.
 */
export function isZigbeePro(frameControl: number): boolean {
  const type = frameControl & 3;
  return ((frameControl >> 2) & 0xf) === zigbeeProVersion && type !== 2 && (frameControl & 0xc000) === 0;
}

/** Decodes the NWK header in `bytes[start…end)`. Never throws. */
export function decodeNwkFrame(bytes: Uint8Array, start: number, end: number): NwkFrame {
  const cursor = createCursor(bytes, start, end);
  const frameControl = readUint16(cursor, "NWK frame control");
  const destinationShort = readUint16(cursor, "NWK destination");
  const sourceShort = readUint16(cursor, "NWK source");
  const radius = readUint8(cursor, "radius");
  const sequence = readUint8(cursor, "NWK sequence number");
  const destination = frameControl & 0x800 ? readEui64(cursor, "NWK destination address") : undefined;
  const source = frameControl & 0x1000 ? readEui64(cursor, "NWK source address") : undefined;
  const multicastControl = frameControl & 0x100 ? readUint8(cursor, "multicast control") : -1;
  let relays: number[] | undefined;
  if (frameControl & 0x400) {
    const count = readUint8(cursor, "source route");
    readUint8(cursor, "source route");
    relays = [];
    if (2 * count > left(cursor)) stop(cursor, "the frame ends within its source route");
    else for (let index = 0; index < count; index++) relays.push(readUint16(cursor, "source route"));
  }
  const security = (frameControl & 0x200) !== 0;
  const auxiliary = security && cursor.stopped === undefined ? readAuxiliaryHeader(cursor) : undefined;
  return {
    start,
    frameControl,
    frameType: frameControl & 3,
    protocolVersion: (frameControl >> 2) & 0xf,
    security,
    destinationShort,
    sourceShort,
    radius,
    sequence,
    destination,
    source,
    multicastControl,
    relays,
    auxiliary,
    payloadStart: cursor.offset,
    payloadEnd: Math.max(cursor.offset, Math.min(end, bytes.length)),
    stopped: cursor.stopped,
  };
}
