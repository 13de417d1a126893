import { createCursor, readUint32, readUint8, type Stopped } from "../cursor.ts";

/** @see Zigbee Green Power (14-0563) Table 13 */
export const GreenPowerApplication = { sourceId: 0, address: 2 } as const;

/** Bytes of the integrity code, by security level: 1 is short and no longer used. @see Zigbee Green Power (14-0563) §A.1.4.1.3 */
const micBytes: readonly number[] = [0, 2, 4, 4];

/** The header of a Green Power frame. Absent fields are -1. @see Zigbee Green Power (14-0563) §A.1.4 */
export interface GreenPowerFrame {
  /** 0 data, 1 maintenance. */
  readonly frameType: number;
  /** A `GreenPowerApplication`: `sourceId` names the sender, or the source address of the MAC frame and `endpoint` do. */
  readonly applicationId: number;
  readonly sourceId: number;
  readonly endpoint: number;
  /** 0 none, 2 full counter and MIC-32, 3 the same and encrypted. */
  readonly securityLevel: number;
  readonly frameCounter: number;
  /** -1 where it is encrypted. */
  readonly command: number;
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
  const namesItself = applicationId === GreenPowerApplication.sourceId && frameType === 0;
  const sourceId = namesItself ? readUint32(cursor, "source id") : -1;
  const endpoint = applicationId === GreenPowerApplication.address ? readUint8(cursor, "endpoint") : -1;
  const frameCounter = securityLevel >= 2 ? readUint32(cursor, "frame counter") : -1;
  const payloadStart = cursor.offset;
  const payloadEnd = Math.max(payloadStart, Math.min(end, bytes.length) - (micBytes[securityLevel] ?? 0));
  const command = securityLevel < 3 && payloadStart < payloadEnd ? (bytes[payloadStart] ?? -1) : -1;
  const { stopped } = cursor;
  return {
    frameType,
    applicationId,
    sourceId,
    endpoint,
    securityLevel,
    frameCounter,
    command,
    payloadStart,
    payloadEnd,
    stopped,
  };
}
