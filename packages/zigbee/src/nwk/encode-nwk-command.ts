import { uint16, uint8 } from "../encoding.ts";
import { type Eui64, eui64Bytes } from "../eui64.ts";
import { joined } from "../security/mmo-hash.ts";
import { NwkCommandId } from "./nwk-command.ts";

/** @see Zigbee §3.4.1 */
export function encodeRouteRequest(request: {
  readonly requestId: number;
  readonly destination: number;
  readonly pathCost: number;
}): Uint8Array {
  return joined(
    Uint8Array.of(NwkCommandId.routeRequest, 0, request.requestId),
    uint16(request.destination),
    uint8(request.pathCost),
  );
}

/** @see Zigbee §3.4.2 */
export function encodeRouteReply(reply: {
  readonly requestId: number;
  readonly originator: number;
  readonly responder: number;
  readonly pathCost: number;
}): Uint8Array {
  return joined(
    Uint8Array.of(NwkCommandId.routeReply, 0, reply.requestId),
    uint16(reply.originator),
    uint16(reply.responder),
    uint8(reply.pathCost),
  );
}

/** @see Zigbee §3.4.3 */
export function encodeNetworkStatus(status: number, destination: number): Uint8Array {
  return joined(Uint8Array.of(NwkCommandId.networkStatus, status), uint16(destination));
}

/** `request`: the receiver shall leave; otherwise the sender says that it leaves. @see Zigbee §3.4.4 */
export function encodeLeave(leave: { readonly request: boolean; readonly rejoin: boolean }): Uint8Array {
  return Uint8Array.of(NwkCommandId.leave, (leave.request ? 0x40 : 0) | (leave.rejoin ? 0x20 : 0));
}

/** @see Zigbee §3.4.6 */
export function encodeRejoinRequest(capability: number): Uint8Array {
  return Uint8Array.of(NwkCommandId.rejoinRequest, capability);
}

/** @see Zigbee §3.4.7 */
export function encodeRejoinResponse(shortAddress: number, status: number): Uint8Array {
  return joined(uint8(NwkCommandId.rejoinResponse), uint16(shortAddress), uint8(status));
}

/** A neighbour in a link status: costs from 1 (best) to 7, 0 unknown. */
export interface LinkStatusEntry {
  readonly address: number;
  readonly incomingCost: number;
  readonly outgoingCost: number;
}

/** All neighbours in one command. @see Zigbee §3.4.8 */
export function encodeLinkStatus(entries: readonly LinkStatusEntry[]): Uint8Array {
  const listed = entries
    .toSorted((a, b) => a.address - b.address)
    .map(({ address, incomingCost, outgoingCost }) =>
      joined(uint16(address), uint8(incomingCost | (outgoingCost << 4))),
    );
  return joined(Uint8Array.of(NwkCommandId.linkStatus, 0x60 | (entries.length & 0x1f)), ...listed);
}

/** A PAN id conflict as it is reported to the network manager. @see Zigbee §3.4.9 */
export function encodeNetworkReport(extendedPan: Eui64, panIds: readonly number[]): Uint8Array {
  const head = Uint8Array.of(NwkCommandId.networkReport, panIds.length & 0x1f);
  return joined(head, eui64Bytes(extendedPan), ...panIds.map((pan) => uint16(pan)));
}

/** The network gets another PAN id. @see Zigbee §3.4.10 */
export function encodeNetworkUpdate(extendedPan: Eui64, updateId: number, pan: number): Uint8Array {
  const head = Uint8Array.of(NwkCommandId.networkUpdate, 1);
  return joined(head, eui64Bytes(extendedPan), uint8(updateId), uint16(pan));
}
