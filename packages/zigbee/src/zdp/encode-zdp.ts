import { uint16, uint8 } from "../encoding.ts";
import { type Eui64, eui64Bytes } from "../eui64.ts";
import { joined } from "../security/mmo-hash.ts";

/** The payload of a device announcement. @see Zigbee §2.4.3.1.11 */
export function encodeDeviceAnnounce(
  sequence: number,
  device: { readonly shortAddress: number; readonly address: Eui64; readonly capability: number },
): Uint8Array {
  const { shortAddress, address, capability } = device;
  return joined(uint8(sequence), uint16(shortAddress), eui64Bytes(address), uint8(capability));
}

/** The payload of a permit joining request. @see Zigbee §2.4.3.3.7 */
export function encodePermitJoining(sequence: number, seconds: number): Uint8Array {
  return Uint8Array.of(sequence, seconds, 1);
}
