import { type Eui64, eui64Bytes } from "../eui64.ts";
import { nonceBytes } from "./ccm-star.ts";

/*
 * The two nonces differ in byte order, which is easily overlooked:
 *
 *     NWK, APS   source address (8, least significant first) │ frame counter (4, least significant first) │ security control
 *     MAC        source address (8, most significant first)  │ frame counter (4, most significant first)  │ security level
 */

/** Writes the nonce of a NWK or APS frame to `nonce`; `control` has the real level. @see Zigbee §4.5.2.2 */
export function setZigbeeNonce(
  nonce: Uint8Array,
  source: Eui64,
  frameCounter: number,
  control: number,
): void {
  nonce.set(addressBytes(source));
  nonce[8] = frameCounter;
  nonce[9] = frameCounter >>> 8;
  nonce[10] = frameCounter >>> 16;
  nonce[11] = frameCounter >>> 24;
  nonce[12] = control;
}

/** Writes the nonce of a MAC frame to `nonce`. @see IEEE 802.15.4-2006 §7.6.3.2 */
export function setMacNonce(nonce: Uint8Array, source: Eui64, frameCounter: number, level: number): void {
  const address = addressBytes(source);
  for (let index = 0; index < 8; index++) nonce[index] = address[7 - index] ?? 0;
  nonce[8] = frameCounter >>> 24;
  nonce[9] = frameCounter >>> 16;
  nonce[10] = frameCounter >>> 8;
  nonce[11] = frameCounter;
  nonce[12] = level;
}

/** Room for a nonce. */
export function createNonce(): Uint8Array {
  return new Uint8Array(nonceBytes);
}

/** Parsing an address costs more than opening a frame, and few addresses speak. */
const cache = new Map<Eui64, Uint8Array>();
const cacheMax = 4_096;

function addressBytes(address: Eui64): Uint8Array {
  const found = cache.get(address);
  if (found !== undefined) return found;
  if (cache.size >= cacheMax) cache.clear();
  const bytes = eui64Bytes(address);
  cache.set(address, bytes);
  return bytes;
}
