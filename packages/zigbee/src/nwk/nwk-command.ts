import { createCursor, left, readEui64, readRest, readUint16, readUint8, type Stopped } from "../cursor.ts";
import { type Eui64 } from "../eui64.ts";

/** @see Zigbee Table 3-44 */
export const NwkCommandId = {
  routeRequest: 0x01,
  routeReply: 0x02,
  networkStatus: 0x03,
  leave: 0x04,
  routeRecord: 0x05,
  rejoinRequest: 0x06,
  rejoinResponse: 0x07,
  linkStatus: 0x08,
  networkReport: 0x09,
  networkUpdate: 0x0a,
  endDeviceTimeoutRequest: 0x0b,
  endDeviceTimeoutResponse: 0x0c,
} as const;

/** How people call a command, by its identifier. */
export const nwkCommandNames: readonly (string | undefined)[] = [
  undefined,
  "route request",
  "route reply",
  "network status",
  "leave",
  "route record",
  "rejoin request",
  "rejoin response",
  "link status",
  "network report",
  "network update",
  "end device timeout request",
  "end device timeout response",
];

/** A NWK command. @see Zigbee §3.4 */
export type NwkCommand = { readonly stopped: Stopped | undefined } & (
  | {
      readonly kind: "route-request";
      readonly id: number;
      readonly requestId: number;
      readonly destination: number;
      readonly pathCost: number;
    }
  | {
      readonly kind: "route-reply";
      readonly id: number;
      readonly requestId: number;
      readonly originator: number;
      readonly responder: number;
      readonly pathCost: number;
    }
  | {
      readonly kind: "link-status";
      readonly id: number;
      readonly links: readonly {
        readonly address: number;
        readonly incomingCost: number;
        readonly outgoingCost: number;
      }[];
    }
  | { readonly kind: "rejoin-request"; readonly id: number; readonly capability: number }
  | {
      readonly kind: "rejoin-response";
      readonly id: number;
      readonly shortAddress: number;
      readonly status: number;
    }
  | {
      readonly kind: "leave";
      readonly id: number;
      readonly rejoin: boolean;
      /** The sender asks another to leave; otherwise it says that it leaves itself. */
      readonly request: boolean;
      readonly removeChildren: boolean;
    }
  | {
      readonly kind: "network-status";
      readonly id: number;
      readonly status: number;
      readonly destination: number;
    }
  /** A report of a PAN id conflict, or an update of the PAN id. */
  | {
      readonly kind: "network-report" | "network-update";
      readonly id: number;
      readonly extendedPan: Eui64 | undefined;
      readonly panIds: readonly number[];
    }
  | { readonly kind: "other"; readonly id: number; readonly payload: Uint8Array }
);

/** Decodes a NWK command's payload, decrypted. Never throws. */
export function decodeNwkCommand(bytes: Uint8Array, start = 0, end: number = bytes.length): NwkCommand {
  const cursor = createCursor(bytes, start, end);
  const id = readUint8(cursor, "NWK command identifier");
  switch (id) {
    case NwkCommandId.routeRequest: {
      const options = readUint8(cursor, "route request");
      const requestId = readUint8(cursor, "route request");
      const destination = readUint16(cursor, "route request");
      const pathCost = readUint8(cursor, "route request");
      if (options & 0x20) readEui64(cursor, "route request");
      return { kind: "route-request", id, requestId, destination, pathCost, stopped: cursor.stopped };
    }
    case NwkCommandId.routeReply: {
      readUint8(cursor, "route reply");
      const requestId = readUint8(cursor, "route reply");
      const originator = readUint16(cursor, "route reply");
      const responder = readUint16(cursor, "route reply");
      const pathCost = readUint8(cursor, "route reply");
      return { kind: "route-reply", id, requestId, originator, responder, pathCost, stopped: cursor.stopped };
    }
    case NwkCommandId.linkStatus: {
      const count = readUint8(cursor, "link status") & 0x1f;
      const links: { address: number; incomingCost: number; outgoingCost: number }[] = [];
      while (links.length < count && left(cursor) >= 3) {
        const address = readUint16(cursor, "link status");
        const costs = readUint8(cursor, "link status");
        links.push({ address, incomingCost: costs & 7, outgoingCost: (costs >> 4) & 7 });
      }
      return { kind: "link-status", id, links, stopped: cursor.stopped };
    }
    case NwkCommandId.rejoinRequest: {
      const capability = readUint8(cursor, "capability information");
      return { kind: "rejoin-request", id, capability, stopped: cursor.stopped };
    }
    case NwkCommandId.rejoinResponse: {
      const shortAddress = readUint16(cursor, "network address");
      const status = readUint8(cursor, "rejoin status");
      return { kind: "rejoin-response", id, shortAddress, status, stopped: cursor.stopped };
    }
    case NwkCommandId.leave: {
      const options = readUint8(cursor, "leave options");
      return {
        kind: "leave",
        id,
        rejoin: (options & 0x20) !== 0,
        request: (options & 0x40) !== 0,
        removeChildren: (options & 0x80) !== 0,
        stopped: cursor.stopped,
      };
    }
    case NwkCommandId.networkStatus: {
      const status = readUint8(cursor, "network status");
      const destination = readUint16(cursor, "network status");
      return { kind: "network-status", id, status, destination, stopped: cursor.stopped };
    }
    case NwkCommandId.networkReport:
    case NwkCommandId.networkUpdate: {
      const count = readUint8(cursor, "command options") & 0x1f;
      const extendedPan = readEui64(cursor, "extended PAN id");
      const panIds: number[] = [];
      if (id === NwkCommandId.networkUpdate) readUint8(cursor, "update id");
      while (panIds.length < count && cursor.stopped === undefined) panIds.push(readUint16(cursor, "PAN id"));
      const kind = id === NwkCommandId.networkReport ? "network-report" : "network-update";
      return { kind, id, extendedPan, panIds, stopped: cursor.stopped };
    }
    default:
      return { kind: "other", id, payload: readRest(cursor), stopped: cursor.stopped };
  }
}
