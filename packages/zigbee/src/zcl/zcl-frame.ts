import {
  createCursor,
  left,
  readBytes,
  readRest,
  readUint16,
  readUint8,
  stop,
  type Cursor,
  type Stopped,
} from "../cursor.ts";
import { zclClusters } from "./clusters.ts";

/** The commands that every cluster has. @see Zigbee Cluster Library §2.5 */
export const foundationCommands: readonly string[] = [
  "read attributes",
  "read attributes response",
  "write attributes",
  "write attributes undivided",
  "write attributes response",
  "write attributes no response",
  "configure reporting",
  "configure reporting response",
  "read reporting configuration",
  "read reporting configuration response",
  "report attributes",
  "default response",
  "discover attributes",
  "discover attributes response",
  "read attributes structured",
  "write attributes structured",
  "write attributes structured response",
  "discover commands received",
  "discover commands received response",
  "discover commands generated",
  "discover commands generated response",
  "discover attributes extended",
  "discover attributes extended response",
];

/** A ZCL frame's header and payload. @see Zigbee Cluster Library §2.4 */
export interface ZclFrame {
  readonly frameControl: number;
  /** The command is the cluster's own; otherwise one of `foundationCommands`. */
  readonly clusterSpecific: boolean;
  /** -1: the command is not a manufacturer's. */
  readonly manufacturerCode: number;
  readonly fromServer: boolean;
  readonly sequence: number;
  readonly command: number;
  readonly payload: Uint8Array;
  readonly stopped: Stopped | undefined;
}

/** Decodes the ZCL frame of an APS data frame. Never throws. */
export function decodeZclFrame(bytes: Uint8Array, start = 0, end: number = bytes.length): ZclFrame {
  const cursor = createCursor(bytes, start, end);
  const frameControl = readUint8(cursor, "ZCL frame control");
  const manufacturerCode = frameControl & 4 ? readUint16(cursor, "manufacturer code") : -1;
  const sequence = readUint8(cursor, "ZCL sequence number");
  const command = readUint8(cursor, "ZCL command");
  return {
    frameControl,
    clusterSpecific: (frameControl & 3) === 1,
    manufacturerCode,
    fromServer: (frameControl & 8) !== 0,
    sequence,
    command,
    payload: readRest(cursor),
    stopped: cursor.stopped,
  };
}

/** How people call a frame's command: `On/Off: toggle`, `Basic: read attributes`. */
export function zclCommandName(cluster: number, frame: ZclFrame): string {
  const known = zclClusters.get(cluster);
  const name = known?.name ?? `cluster 0x${cluster.toString(16).padStart(4, "0")}`;
  const commands = frame.fromServer ? known?.generated : known?.received;
  const command = frame.clusterSpecific ? commands?.[frame.command] : foundationCommands[frame.command];
  return `${name}: ${command ?? `command 0x${frame.command.toString(16).padStart(2, "0")}`}`;
}

/** An attribute with its value as it stands in a report or a response. */
export interface ZclAttribute {
  readonly id: number;
  /** 0 unless a read failed. */
  readonly status: number;
  /** The data type; -1 where none is given. */
  readonly type: number;
  readonly value: Uint8Array;
}

const fixedLengths: ReadonlyMap<number, number> = new Map([
  [0x00, 0],
  [0x10, 1],
  [0x30, 1],
  [0x31, 2],
  [0x38, 2],
  [0x39, 4],
  [0x3a, 8],
  [0xe0, 4],
  [0xe1, 4],
  [0xe2, 4],
  [0xe8, 2],
  [0xe9, 2],
  [0xea, 4],
  [0xf0, 8],
  [0xf1, 16],
]);

/** Bytes of a value of `type` that begins at the cursor, or -1 when the type is not known. @see ZCL §2.6.2 */
function valueBytes(cursor: Cursor, type: number): number {
  const fixed = fixedLengths.get(type);
  if (fixed !== undefined) return fixed;
  // General data, bitmaps, unsigned and signed integers of 1 to 8 bytes.
  if ((type >= 0x08 && type <= 0x0f) || (type >= 0x18 && type <= 0x2f)) return (type & 7) + 1;
  const { bytes, offset, end } = cursor;
  if (type === 0x41 || type === 0x42) {
    const length = offset < end ? (bytes[offset] ?? 0) : 0;
    return 1 + (length === 0xff ? 0 : length);
  }
  if (type === 0x43 || type === 0x44) {
    const length = offset + 1 < end ? (bytes[offset] ?? 0) | ((bytes[offset + 1] ?? 0) << 8) : 0;
    return 2 + (length === 0xffff ? 0 : length);
  }
  return -1;
}

/**
 * The attributes of a report (0x0a), a read response (0x01) or a write (0x02, 0x03, 0x05). What cannot be read ends the list, and
 * `stopped` says why. Never throws. @see ZCL §2.5
 */
export function decodeZclAttributes(
  command: number,
  payload: Uint8Array,
): { readonly attributes: readonly ZclAttribute[]; readonly stopped: Stopped | undefined } {
  const cursor = createCursor(payload);
  const attributes: ZclAttribute[] = [];
  while (left(cursor) > 0) {
    const id = readUint16(cursor, "attribute identifier");
    const status = command === 0x01 ? readUint8(cursor, "attribute status") : 0;
    let type = -1;
    let value: Uint8Array = new Uint8Array(0);
    if (status === 0) {
      type = readUint8(cursor, "attribute type");
      const length = valueBytes(cursor, type);
      if (length === -1) stop(cursor, `data type 0x${type.toString(16).padStart(2, "0")} is not decoded`);
      else value = readBytes(cursor, length, "attribute value");
    }
    if (cursor.stopped !== undefined) break;
    attributes.push({ id, status, type, value });
  }
  return { attributes, stopped: cursor.stopped };
}
