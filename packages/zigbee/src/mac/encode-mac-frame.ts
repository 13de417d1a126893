import { uint16, uint8 } from "../encoding.ts";
import { type Eui64, eui64Bytes } from "../eui64.ts";
import { joined } from "../security/mmo-hash.ts";
import { MacFrameType } from "./mac-frame.ts";

/** A short address, or an extended one. */
export type MacAddress = number | Eui64;

/** What stands in the header of a frame without MAC security. */
export interface MacHeader {
  /** A `MacFrameType`. */
  readonly frameType: number;
  readonly sequence: number;
  readonly acknowledgmentRequest?: boolean;
  readonly framePending?: boolean;
  readonly destination?: { readonly pan: number; readonly address: MacAddress } | undefined;
  readonly source?: { readonly pan: number; readonly address: MacAddress } | undefined;
}

function addressBytes(address: MacAddress): Uint8Array {
  return typeof address === "number" ? uint16(address) : eui64Bytes(address);
}

function addressMode(place: MacHeader["source"]): number {
  if (place === undefined) return 0;
  return typeof place.address === "number" ? 2 : 3;
}

/** A frame of IEEE 802.15.4-2003 without its check sequence; equal PANs are written once. @see IEEE 802.15.4-2006 §7.2.1 */
export function encodeMacFrame(header: MacHeader, payload: Uint8Array): Uint8Array {
  const { destination, source } = header;
  const compressed = destination !== undefined && source !== undefined && destination.pan === source.pan;
  const control =
    header.frameType |
    (header.framePending === true ? 0x10 : 0) |
    (header.acknowledgmentRequest === true ? 0x20 : 0) |
    (compressed ? 0x40 : 0) |
    (addressMode(destination) << 10) |
    (addressMode(source) << 14);
  const parts = [uint16(control), uint8(header.sequence)];
  if (destination !== undefined) parts.push(uint16(destination.pan), addressBytes(destination.address));
  if (source !== undefined) {
    if (!compressed) parts.push(uint16(source.pan));
    parts.push(addressBytes(source.address));
  }
  return joined(...parts, payload);
}

/** An acknowledgement: it says which frame it is for by its sequence number only. @see IEEE 802.15.4-2006 §7.2.2.3 */
export function encodeAcknowledgment(sequence: number, framePending: boolean): Uint8Array {
  return encodeMacFrame(
    { frameType: MacFrameType.acknowledgment, sequence, framePending },
    new Uint8Array(0),
  );
}
