import { createCursor, readEui64, readRest, readUint16, readUint8, type Stopped } from "../cursor.ts";
import { type Eui64 } from "../eui64.ts";

/** The profile of ZDP, on endpoint 0. @see Zigbee §2.4 */
export const zdpProfile = 0x0000;

/** ZDP clusters; a response is its request with bit 15. @see Zigbee §2.4.2 */
export const ZdpCluster = {
  nwkAddressRequest: 0x0000,
  ieeeAddressRequest: 0x0001,
  nodeDescriptorRequest: 0x0002,
  simpleDescriptorRequest: 0x0004,
  activeEndpointsRequest: 0x0005,
  matchDescriptorRequest: 0x0006,
  deviceAnnounce: 0x0013,
  parentAnnounce: 0x001f,
  bindRequest: 0x0021,
  unbindRequest: 0x0022,
  mgmtLqiRequest: 0x0031,
  mgmtRoutingRequest: 0x0032,
  mgmtBindRequest: 0x0033,
  mgmtLeaveRequest: 0x0034,
  mgmtPermitJoiningRequest: 0x0036,
  mgmtNwkUpdateRequest: 0x0038,
} as const;

const names: ReadonlyMap<number, string> = new Map([
  [ZdpCluster.nwkAddressRequest, "NWK address"],
  [ZdpCluster.ieeeAddressRequest, "IEEE address"],
  [ZdpCluster.nodeDescriptorRequest, "node descriptor"],
  [ZdpCluster.simpleDescriptorRequest, "simple descriptor"],
  [ZdpCluster.activeEndpointsRequest, "active endpoints"],
  [ZdpCluster.matchDescriptorRequest, "match descriptor"],
  [ZdpCluster.deviceAnnounce, "device announce"],
  [ZdpCluster.parentAnnounce, "parent announce"],
  [ZdpCluster.bindRequest, "bind"],
  [ZdpCluster.unbindRequest, "unbind"],
  [ZdpCluster.mgmtLqiRequest, "neighbour table"],
  [ZdpCluster.mgmtRoutingRequest, "routing table"],
  [ZdpCluster.mgmtBindRequest, "binding table"],
  [ZdpCluster.mgmtLeaveRequest, "leave"],
  [ZdpCluster.mgmtPermitJoiningRequest, "permit joining"],
  [ZdpCluster.mgmtNwkUpdateRequest, "network update"],
]);

/** How people call a ZDP cluster: `permit joining request`. */
export function zdpName(cluster: number): string {
  const name = names.get(cluster & 0x7fff) ?? `cluster 0x${cluster.toString(16).padStart(4, "0")}`;
  if (cluster === ZdpCluster.deviceAnnounce) return name;
  return `${name} ${cluster & 0x8000 ? "response" : "request"}`;
}

/** A ZDP message; what matters for security is decoded, the rest keeps its bytes. @see Zigbee §2.4.3, §2.4.4 */
export type ZdpFrame = { readonly sequence: number; readonly stopped: Stopped | undefined } & (
  | {
      readonly kind: "device-announce";
      readonly shortAddress: number;
      readonly address: Eui64 | undefined;
      /** Bit 1: router; bit 2: mains; bit 3: receiver on when idle. */
      readonly capability: number;
    }
  /** Answer to NWK and IEEE address requests. */
  | {
      readonly kind: "address-response";
      readonly status: number;
      readonly address: Eui64 | undefined;
      readonly shortAddress: number;
    }
  /** `seconds`: 0 shuts, 255 opens without end (until Zigbee 3.0: 254 seconds). */
  | { readonly kind: "permit-joining"; readonly seconds: number; readonly trustCenterSignificance: number }
  | { readonly kind: "leave-request"; readonly device: Eui64 | undefined; readonly options: number }
  | {
      readonly kind: "node-descriptor";
      readonly status: number;
      readonly shortAddress: number;
      /** 0 coordinator, 1 router, 2 end device. */
      readonly logicalType: number;
      readonly capability: number;
      readonly manufacturerCode: number;
    }
  | { readonly kind: "other"; readonly payload: Uint8Array }
);

/** Decodes the ZDP message of an APS data frame to endpoint 0. Never throws. */
export function decodeZdpFrame(
  cluster: number,
  bytes: Uint8Array,
  start = 0,
  end: number = bytes.length,
): ZdpFrame {
  const cursor = createCursor(bytes, start, end);
  const sequence = readUint8(cursor, "ZDP sequence number");
  switch (cluster) {
    case ZdpCluster.deviceAnnounce: {
      const shortAddress = readUint16(cursor, "announced address");
      const address = readEui64(cursor, "announced address");
      const capability = readUint8(cursor, "capability information");
      return {
        kind: "device-announce",
        sequence,
        shortAddress,
        address,
        capability,
        stopped: cursor.stopped,
      };
    }
    case ZdpCluster.nwkAddressRequest | 0x8000:
    case ZdpCluster.ieeeAddressRequest | 0x8000: {
      const status = readUint8(cursor, "status");
      const address = readEui64(cursor, "IEEE address");
      const shortAddress = readUint16(cursor, "NWK address");
      return { kind: "address-response", sequence, status, address, shortAddress, stopped: cursor.stopped };
    }
    case ZdpCluster.mgmtPermitJoiningRequest: {
      const seconds = readUint8(cursor, "permit duration");
      const trustCenterSignificance = readUint8(cursor, "trust centre significance");
      return { kind: "permit-joining", sequence, seconds, trustCenterSignificance, stopped: cursor.stopped };
    }
    case ZdpCluster.mgmtLeaveRequest: {
      const device = readEui64(cursor, "device");
      const options = readUint8(cursor, "leave options");
      return { kind: "leave-request", sequence, device, options, stopped: cursor.stopped };
    }
    case ZdpCluster.nodeDescriptorRequest | 0x8000: {
      const status = readUint8(cursor, "status");
      const shortAddress = readUint16(cursor, "NWK address");
      const logicalType = status === 0 ? readUint16(cursor, "node descriptor") & 7 : 0;
      const capability = status === 0 ? readUint8(cursor, "node descriptor") : 0;
      const manufacturerCode = status === 0 ? readUint16(cursor, "node descriptor") : 0;
      const { stopped } = cursor;
      return {
        kind: "node-descriptor",
        sequence,
        status,
        shortAddress,
        logicalType,
        capability,
        manufacturerCode,
        stopped,
      };
    }
    default:
      return { kind: "other", sequence, payload: readRest(cursor), stopped: cursor.stopped };
  }
}
