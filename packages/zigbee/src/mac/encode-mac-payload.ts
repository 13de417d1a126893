import { uint16, uint8 } from "../encoding.ts";
import { type Eui64, eui64Bytes } from "../eui64.ts";
import { zigbeeProVersion } from "../nwk/nwk-frame.ts";
import { joined } from "../security/mmo-hash.ts";
import { MacCommandId } from "./mac-command.ts";

/** Bits of the capability information. @see IEEE 802.15.4-2006 §7.3.1.2 */
export const Capability = {
  router: 0x02,
  mainsPowered: 0x04,
  receiverOnWhenIdle: 0x08,
  allocateAddress: 0x80,
} as const;

/** What the answer to an association request says. @see IEEE 802.15.4-2006 Table 83 */
export const AssociationStatus = { success: 0, panAtCapacity: 1, panAccessDenied: 2 } as const;

/** The MAC payload of a beacon of a Zigbee network that does not use superframes. @see Zigbee §3.6.7 */
export function encodeBeaconPayload(beacon: {
  readonly associationPermit: boolean;
  readonly panCoordinator: boolean;
  readonly stackProfile: number;
  readonly deviceDepth: number;
  readonly routerCapacity: boolean;
  readonly endDeviceCapacity: boolean;
  readonly extendedPan: Eui64;
  readonly updateId: number;
}): Uint8Array {
  const superframe = 0x0fff | (beacon.panCoordinator ? 0x4000 : 0) | (beacon.associationPermit ? 0x8000 : 0);
  const network =
    beacon.stackProfile |
    (zigbeeProVersion << 4) |
    (beacon.routerCapacity ? 0x400 : 0) |
    (Math.min(15, beacon.deviceDepth) << 11) |
    (beacon.endDeviceCapacity ? 0x8000 : 0);
  return joined(
    uint16(superframe),
    Uint8Array.of(0, 0, 0),
    uint16(network),
    eui64Bytes(beacon.extendedPan),
    Uint8Array.of(0xff, 0xff, 0xff, beacon.updateId),
  );
}

/** @see IEEE 802.15.4-2006 §7.3.1 */
export function encodeAssociationRequest(capability: number): Uint8Array {
  return Uint8Array.of(MacCommandId.associationRequest, capability);
}

/** @see IEEE 802.15.4-2006 §7.3.2 */
export function encodeAssociationResponse(shortAddress: number, status: number): Uint8Array {
  return joined(uint8(MacCommandId.associationResponse), uint16(shortAddress), uint8(status));
}

/** `reason`: 1 the coordinator wishes the device to leave, 2 the device wishes to leave. @see IEEE 802.15.4-2006 §7.3.3 */
export function encodeDisassociation(reason: number): Uint8Array {
  return Uint8Array.of(MacCommandId.disassociationNotification, reason);
}

/** `shortAddress`: 0xffff when the command is for all. @see IEEE 802.15.4-2006 §7.3.8 */
export function encodeRealignment(to: {
  readonly pan: number;
  readonly coordinator: number;
  readonly channel: number;
  readonly shortAddress: number;
}): Uint8Array {
  return joined(
    uint8(MacCommandId.coordinatorRealignment),
    uint16(to.pan),
    uint16(to.coordinator),
    uint8(to.channel),
    uint16(to.shortAddress),
  );
}
