import { createCursor, readEui64, readUint32, readUint8, type Stopped } from "../cursor.ts";
import { type Eui64 } from "../eui64.ts";

/** The header of a Green Power frame. Absent fields are -1. @see Zigbee Green Power (14-0563) §A.1.4 */
export interface GreenPowerFrame {
  /** 0 data, 1 maintenance. */
  readonly frameType: number;
  /** 0: `sourceId` names the sender; 2: `source` and `endpoint`. */
  readonly applicationId: number;
  readonly sourceId: number;
  readonly source: Eui64 | undefined;
  readonly endpoint: number;
  /** 0 none, 2 full counter and MIC-32, 3 the same and encrypted. */
  readonly securityLevel: number;
  readonly frameCounter: number;
  /** Bytes from the command identifier on, without the integrity code. */
  readonly payloadStart: number;
  readonly payloadEnd: number;
  readonly stopped: Stopped | undefined;
}

/** Decodes the NWK header of a Green Power frame. Never throws. */
export function decodeGreenPowerFrame(bytes: Uint8Array, start: number, end: number): GreenPowerFrame {
  const cursor = createCursor(bytes, start, end);
  const frameControl = readUint8(cursor, "Green Power frame control");
  const frameType = frameControl & 3;
  const extended = frameControl & 0x80 ? readUint8(cursor, "extended frame control") : 0;
  const applicationId = extended & 7;
  const securityLevel = (extended >> 3) & 3;
  let sourceId = -1;
  let source: Eui64 | undefined;
  let endpoint = -1;
  if (applicationId === 0 && frameType === 0) sourceId = readUint32(cursor, "source id");
  if (applicationId === 2) {
    source = readEui64(cursor, "source address");
    endpoint = readUint8(cursor, "endpoint");
  }
  const frameCounter = securityLevel >= 2 ? readUint32(cursor, "frame counter") : -1;
  const micBytes = securityLevel >= 2 ? 4 : 0;
  return {
    frameType,
    applicationId,
    sourceId,
    source,
    endpoint,
    securityLevel,
    frameCounter,
    payloadStart: cursor.offset,
    payloadEnd: Math.max(cursor.offset, Math.min(end, bytes.length) - micBytes),
    stopped: cursor.stopped,
  };
}
