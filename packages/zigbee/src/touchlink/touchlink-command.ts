import {
  createCursor,
  readBytes,
  readEui64,
  readUint16,
  readUint32,
  readUint8,
  type Stopped,
} from "../cursor.ts";
import { type Eui64 } from "../eui64.ts";

/** The cluster of touchlink, in inter-PAN frames of the Light Link profile. @see ZCL §13.3 */
export const touchlinkCluster = 0x1000;

/** @see ZCL Table 13-10, 13-11: requests come from the initiator */
export const TouchlinkCommandId = {
  scanRequest: 0x00,
  scanResponse: 0x01,
  identifyRequest: 0x06,
  resetToFactoryNewRequest: 0x07,
  networkStartRequest: 0x10,
  networkStartResponse: 0x11,
  networkJoinRouterRequest: 0x12,
  networkJoinRouterResponse: 0x13,
  networkJoinEndDeviceRequest: 0x14,
  networkJoinEndDeviceResponse: 0x15,
  networkUpdateRequest: 0x16,
} as const;

const names: ReadonlyMap<number, string> = new Map([
  [TouchlinkCommandId.scanRequest, "scan request"],
  [TouchlinkCommandId.scanResponse, "scan response"],
  [TouchlinkCommandId.identifyRequest, "identify request"],
  [TouchlinkCommandId.resetToFactoryNewRequest, "reset to factory new request"],
  [TouchlinkCommandId.networkStartRequest, "network start request"],
  [TouchlinkCommandId.networkStartResponse, "network start response"],
  [TouchlinkCommandId.networkJoinRouterRequest, "network join router request"],
  [TouchlinkCommandId.networkJoinRouterResponse, "network join router response"],
  [TouchlinkCommandId.networkJoinEndDeviceRequest, "network join end device request"],
  [TouchlinkCommandId.networkJoinEndDeviceResponse, "network join end device response"],
  [TouchlinkCommandId.networkUpdateRequest, "network update request"],
]);

/** How people call a touchlink command. */
export function touchlinkCommandName(id: number): string {
  return names.get(id) ?? `command 0x${id.toString(16).padStart(2, "0")}`;
}

/** A touchlink command: its number, whose transaction it is, and what a key is agreed on with. */
export interface TouchlinkCommand {
  readonly id: number;
  readonly transactionId: number;
  /** Scan response only, otherwise -1. */
  readonly responseId: number;
  /** Scan response only: which keys the target has, bit 4 the master key, bit 15 the certification key; otherwise -1. */
  readonly keyBitmask: number;
  /** Network start and join requests: which key protects `encryptedKey`: 0 development, 4 master, 15 certification. */
  readonly keyIndex: number;
  readonly encryptedKey: Uint8Array | undefined;
  readonly extendedPan: Eui64 | undefined;
  readonly stopped: Stopped | undefined;
}

/** Decodes the ZCL frame of a touchlink command. Never throws. */
export function decodeTouchlinkCommand(bytes: Uint8Array, start: number, end: number): TouchlinkCommand {
  const cursor = createCursor(bytes, start, end);
  readUint16(cursor, "ZCL header");
  const id = readUint8(cursor, "touchlink command");
  const transactionId = readUint32(cursor, "transaction identifier");
  let responseId = -1;
  let keyBitmask = -1;
  let keyIndex = -1;
  let encryptedKey: Uint8Array | undefined;
  let extendedPan: Eui64 | undefined;
  switch (id) {
    case TouchlinkCommandId.scanResponse:
      readBytes(cursor, 3, "scan response");
      keyBitmask = readUint16(cursor, "key bitmask");
      responseId = readUint32(cursor, "response identifier");
      extendedPan = readEui64(cursor, "extended PAN id");
      break;
    case TouchlinkCommandId.networkStartRequest:
    case TouchlinkCommandId.networkJoinRouterRequest:
    case TouchlinkCommandId.networkJoinEndDeviceRequest:
      // Before a new network stands whose it is to be.
      if (id === TouchlinkCommandId.networkStartRequest) readEui64(cursor, "initiator");
      extendedPan = readEui64(cursor, "extended PAN id");
      keyIndex = readUint8(cursor, "key index");
      encryptedKey = readBytes(cursor, 16, "encrypted network key");
      break;
    default:
      break;
  }
  if (encryptedKey?.length !== 16) encryptedKey = undefined;
  const { stopped } = cursor;
  return { id, transactionId, responseId, keyBitmask, keyIndex, encryptedKey, extendedPan, stopped };
}
