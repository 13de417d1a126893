import { keyedHash } from "./mmo-hash.ts";

/** The key that protects the transport of a network key. @see Zigbee §4.5.3 */
export function keyTransportKey(linkKey: Uint8Array): Uint8Array {
  return keyedHash(linkKey, Uint8Array.of(0x00));
}

/** The key that protects the transport of a link or master key. @see Zigbee §4.5.3 */
export function keyLoadKey(linkKey: Uint8Array): Uint8Array {
  return keyedHash(linkKey, Uint8Array.of(0x02));
}

/** What Verify Key proves possession of a link key with. @see Zigbee §4.4.10.7.4 */
export function keyVerifyHash(linkKey: Uint8Array): Uint8Array {
  return keyedHash(linkKey, Uint8Array.of(0x03));
}
