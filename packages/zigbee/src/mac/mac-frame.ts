import { createCursor, readEui64, readUint16, readUint32, readUint8, stop, type Stopped } from "../cursor.ts";
import { type Eui64 } from "../eui64.ts";

/** @see IEEE 802.15.4-2006 Table 79; 5 to 7 since 2015 */
export const MacFrameType = {
  beacon: 0,
  data: 1,
  acknowledgment: 2,
  command: 3,
  multipurpose: 5,
  fragment: 6,
  extended: 7,
} as const;

/** The auxiliary security header of a MAC frame. @see IEEE 802.15.4-2006 §7.6.2 */
export interface MacSecurityHeader {
  /** Level 0 to 7 in bits 0 to 2, key identifier mode in bits 3 and 4. */
  readonly control: number;
  readonly frameCounter: number;
  /** 0, 4 or 8 bytes, as they stand; -1, -1 when the mode has none. */
  readonly keySource: Uint8Array | undefined;
  readonly keyIndex: number;
}

/**
 * A MAC frame's header and where its payload lies: `bytes[payloadStart…payloadEnd)`, without the FCS. A field that is
 * absent is -1 (numbers) or `undefined`. When `stopped` is set, what stands before that place is valid.
 * @see IEEE 802.15.4-2006 §7.2
 */
export interface MacFrame {
  readonly frameControl: number;
  /** A `MacFrameType`, or another value of three bits. */
  readonly frameType: number;
  readonly version: number;
  readonly security: boolean;
  readonly framePending: boolean;
  readonly acknowledgmentRequest: boolean;
  readonly sequence: number;
  readonly destinationPan: number;
  readonly destinationShort: number;
  readonly destination: Eui64 | undefined;
  readonly sourcePan: number;
  readonly sourceShort: number;
  readonly source: Eui64 | undefined;
  readonly auxiliary: MacSecurityHeader | undefined;
  readonly payloadStart: number;
  readonly payloadEnd: number;
  readonly stopped: Stopped | undefined;
}

const keySourceBytes: readonly number[] = [0, 0, 4, 8];

/** Decodes the header of the frame in `bytes[start…end)`, which has no FCS. Never throws. */
export function decodeMacFrame(bytes: Uint8Array, start = 0, end: number = bytes.length): MacFrame {
  // Half of a capture are acknowledgements: three bytes, in which there is nothing more to read.
  if (end - start === 3 && ((bytes[start] ?? 0) & 0x0f) === 0x02 && ((bytes[start + 1] ?? 0) & 0xfc) === 0) {
    return acknowledgment(bytes, start, end);
  }
  const cursor = createCursor(bytes, start, end);
  const frameControl = readUint16(cursor, "frame control");
  const frameType = frameControl & 7;
  const version = (frameControl >> 12) & 3;
  if (frameType > MacFrameType.command) stop(cursor, `MAC frame type ${frameType} is not decoded`);
  if (version > 1) stop(cursor, `MAC frame version ${version} is not decoded`);
  const sequence = cursor.stopped === undefined ? readUint8(cursor, "sequence number") : -1;

  const destinationMode = (frameControl >> 10) & 3;
  const sourceMode = (frameControl >> 14) & 3;
  if (destinationMode === 1 || sourceMode === 1) stop(cursor, "addressing mode 1 is reserved");
  let destinationPan = -1;
  let destinationShort = -1;
  let destination: Eui64 | undefined;
  if (destinationMode > 1) {
    destinationPan = readUint16(cursor, "destination PAN");
    if (destinationMode === 2) destinationShort = readUint16(cursor, "destination address");
    else destination = readEui64(cursor, "destination address");
  }
  let sourcePan = -1;
  let sourceShort = -1;
  let source: Eui64 | undefined;
  if (sourceMode > 1) {
    const compressed = (frameControl & 0x40) !== 0 && destinationMode > 1;
    sourcePan = compressed ? destinationPan : readUint16(cursor, "source PAN");
    if (sourceMode === 2) sourceShort = readUint16(cursor, "source address");
    else source = readEui64(cursor, "source address");
  }

  let auxiliary: MacSecurityHeader | undefined;
  const security = (frameControl & 8) !== 0;
  if (security && version === 1 && cursor.stopped === undefined) {
    const control = readUint8(cursor, "auxiliary security header");
    const frameCounter = readUint32(cursor, "auxiliary security header");
    const mode = (control >> 3) & 3;
    const length = keySourceBytes[mode] ?? 0;
    const keySourceAt = cursor.offset;
    cursor.offset = Math.min(cursor.end, keySourceAt + length);
    const keyIndex = mode === 0 ? -1 : readUint8(cursor, "auxiliary security header");
    const keySource = mode > 1 ? bytes.subarray(keySourceAt, keySourceAt + length) : undefined;
    auxiliary = { control, frameCounter, keySource, keyIndex };
  } else if (security && cursor.stopped === undefined) {
    stop(cursor, "security of IEEE 802.15.4-2003 is not decoded");
  }
  return {
    frameControl,
    frameType,
    version,
    security,
    framePending: (frameControl & 0x10) !== 0,
    acknowledgmentRequest: (frameControl & 0x20) !== 0,
    sequence,
    destinationPan,
    destinationShort,
    destination,
    sourcePan,
    sourceShort,
    source,
    auxiliary,
    payloadStart: cursor.offset,
    payloadEnd: Math.max(cursor.offset, Math.min(end, bytes.length)),
    stopped: cursor.stopped,
  };
}

/** An acknowledgement without addresses or security, of a version that is known. */
function acknowledgment(bytes: Uint8Array, start: number, end: number): MacFrame {
  const frameControl = (bytes[start] ?? 0) | ((bytes[start + 1] ?? 0) << 8);
  return {
    frameControl,
    frameType: MacFrameType.acknowledgment,
    version: 0,
    security: false,
    framePending: (frameControl & 0x10) !== 0,
    acknowledgmentRequest: (frameControl & 0x20) !== 0,
    sequence: bytes[start + 2] ?? 0,
    destinationPan: -1,
    destinationShort: -1,
    destination: undefined,
    sourcePan: -1,
    sourceShort: -1,
    source: undefined,
    auxiliary: undefined,
    payloadStart: end,
    payloadEnd: end,
    stopped: undefined,
  };
}
