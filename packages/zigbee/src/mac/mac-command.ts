import { createCursor, left, readUint16, readUint8, type Stopped } from "../cursor.ts";

/** @see IEEE 802.15.4-2006 Table 82 */
export const MacCommandId = {
  associationRequest: 1,
  associationResponse: 2,
  disassociationNotification: 3,
  dataRequest: 4,
  panIdConflictNotification: 5,
  orphanNotification: 6,
  beaconRequest: 7,
  coordinatorRealignment: 8,
  gtsRequest: 9,
} as const;

/** A MAC command; fields that the command has not are -1. @see IEEE 802.15.4-2006 §7.3 */
export interface MacCommand {
  readonly id: number;
  /** Association request. */
  readonly capability: number;
  /** Association response and coordinator realignment: the address that is assigned. */
  readonly shortAddress: number;
  /** Association response: 0 is success. */
  readonly status: number;
  /** Disassociation: 1 the coordinator wishes the device to leave, 2 the device wishes to leave. */
  readonly reason: number;
  /** Coordinator realignment. */
  readonly pan: number;
  readonly channel: number;
  readonly stopped: Stopped | undefined;
}

/** Decodes a command's MAC payload. Never throws. */
export function decodeMacCommand(bytes: Uint8Array, start: number, end: number): MacCommand {
  const cursor = createCursor(bytes, start, end);
  const id = readUint8(cursor, "command identifier");
  let capability = -1;
  let shortAddress = -1;
  let status = -1;
  let reason = -1;
  let pan = -1;
  let channel = -1;
  switch (id) {
    case MacCommandId.associationRequest:
      capability = readUint8(cursor, "capability information");
      break;
    case MacCommandId.associationResponse:
      shortAddress = readUint16(cursor, "short address");
      status = readUint8(cursor, "association status");
      break;
    case MacCommandId.disassociationNotification:
      reason = readUint8(cursor, "disassociation reason");
      break;
    case MacCommandId.coordinatorRealignment:
      pan = readUint16(cursor, "PAN identifier");
      cursor.offset = Math.min(cursor.end, cursor.offset + 2);
      channel = readUint8(cursor, "channel");
      if (left(cursor) >= 2) shortAddress = readUint16(cursor, "short address");
      break;
    default:
      break;
  }
  return { id, capability, shortAddress, status, reason, pan, channel, stopped: cursor.stopped };
}
