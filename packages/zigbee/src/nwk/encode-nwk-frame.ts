import { uint16, uint8 } from "../encoding.ts";
import { type Eui64, eui64Bytes } from "../eui64.ts";
import { joined } from "../security/mmo-hash.ts";
import { zigbeeProVersion } from "./nwk-frame.ts";

/** What stands in a NWK header before the auxiliary header. */
export interface NwkHeader {
  /** A `NwkFrameType`. */
  readonly frameType: number;
  readonly destination: number;
  readonly source: number;
  readonly radius: number;
  readonly sequence: number;
  readonly security: boolean;
  /** Routers may look for a route. */
  readonly discoverRoute?: boolean;
  readonly destinationExtended?: Eui64 | undefined;
  readonly sourceExtended?: Eui64 | undefined;
}

/** A NWK header; the auxiliary header, if any, and the payload follow. @see Zigbee §3.3.1 */
export function encodeNwkHeader(header: NwkHeader): Uint8Array {
  const { destinationExtended, sourceExtended } = header;
  const control =
    header.frameType |
    (zigbeeProVersion << 2) |
    (header.discoverRoute === true ? 0x40 : 0) |
    (header.security ? 0x200 : 0) |
    (destinationExtended === undefined ? 0 : 0x800) |
    (sourceExtended === undefined ? 0 : 0x1000);
  const parts = [
    uint16(control),
    uint16(header.destination),
    uint16(header.source),
    uint8(header.radius),
    uint8(header.sequence),
  ];
  if (destinationExtended !== undefined) parts.push(eui64Bytes(destinationExtended));
  if (sourceExtended !== undefined) parts.push(eui64Bytes(sourceExtended));
  return joined(...parts);
}
