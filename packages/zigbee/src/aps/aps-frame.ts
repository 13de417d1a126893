import { createCursor, readUint16, readUint8, type Stopped } from "../cursor.ts";
import { type AuxiliaryHeader, readAuxiliaryHeader } from "../security/auxiliary-header.ts";

/** @see Zigbee Table 2-20 */
export const ApsFrameType = { data: 0, command: 1, acknowledgment: 2, interPan: 3 } as const;

/** @see Zigbee Table 2-21 */
export const ApsDelivery = { unicast: 0, indirect: 1, broadcast: 2, group: 3 } as const;

/**
 * An APS frame's header. The payload, with the integrity code when `security` is on, is
 * `bytes[payloadStart…payloadEnd)`. Absent fields are -1. @see Zigbee §2.2.5
 */
export interface ApsFrame {
  readonly start: number;
  readonly frameControl: number;
  readonly frameType: number;
  readonly delivery: number;
  readonly security: boolean;
  readonly destinationEndpoint: number;
  readonly group: number;
  readonly cluster: number;
  readonly profile: number;
  readonly sourceEndpoint: number;
  readonly counter: number;
  /** 0 not fragmented, 1 the first part (`block` is the number of parts), 2 a later part. */
  readonly fragmentation: number;
  readonly block: number;
  readonly auxiliary: AuxiliaryHeader | undefined;
  readonly payloadStart: number;
  readonly payloadEnd: number;
  readonly stopped: Stopped | undefined;
}

/** Decodes the APS header in `bytes[start…end)`, of a NWK or inter-PAN frame. Never throws. */
export function decodeApsFrame(bytes: Uint8Array, start = 0, end: number = bytes.length): ApsFrame {
  const cursor = createCursor(bytes, start, end);
  const frameControl = readUint8(cursor, "APS frame control");
  const frameType = frameControl & 3;
  const delivery = (frameControl >> 2) & 3;
  const interPan = frameType === ApsFrameType.interPan;
  // An acknowledgement of a command (bit 4, the acknowledgement format) has no endpoints.
  const addressed =
    frameType === ApsFrameType.data ||
    (frameType === ApsFrameType.acknowledgment && (frameControl & 0x10) === 0);
  const isGroup = delivery === ApsDelivery.group && frameType !== ApsFrameType.command;
  const destinationEndpoint = addressed && !isGroup ? readUint8(cursor, "destination endpoint") : -1;
  const group = isGroup && (addressed || interPan) ? readUint16(cursor, "group address") : -1;
  const cluster = addressed || interPan ? readUint16(cursor, "cluster") : -1;
  const profile = addressed || interPan ? readUint16(cursor, "profile") : -1;
  const sourceEndpoint = addressed ? readUint8(cursor, "source endpoint") : -1;
  const counter = interPan ? -1 : readUint8(cursor, "APS counter");
  let fragmentation = 0;
  let block = -1;
  if (frameControl & 0x80 && !interPan) {
    fragmentation = readUint8(cursor, "extended header") & 3;
    if (fragmentation !== 0) {
      block = readUint8(cursor, "extended header");
      if (frameType === ApsFrameType.acknowledgment) readUint8(cursor, "extended header");
    }
  }
  const security = (frameControl & 0x20) !== 0;
  const auxiliary = security && cursor.stopped === undefined ? readAuxiliaryHeader(cursor) : undefined;
  return {
    start,
    frameControl,
    frameType,
    delivery,
    security,
    destinationEndpoint,
    group,
    cluster,
    profile,
    sourceEndpoint,
    counter,
    fragmentation,
    block,
    auxiliary,
    payloadStart: cursor.offset,
    payloadEnd: Math.max(cursor.offset, Math.min(end, bytes.length)),
    stopped: cursor.stopped,
  };
}
