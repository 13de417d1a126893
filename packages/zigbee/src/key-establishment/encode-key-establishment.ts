import { uint16 } from "../encoding.ts";
import { joined } from "../security/mmo-hash.ts";
import { encodeZclCommand } from "../zcl/encode-zcl.ts";

/** The profile in which devices establish keys by certificates. */
export const smartEnergyProfile = 0x0109;

/** Seconds that a device says it takes to draw its key, and to confirm. */
const seconds = 2;

/** The first message of a side: which suite, and its certificate. @see Smart Energy §C.3.1.2.3.1 */
export function encodeInitiate(sequence: number, fromServer: boolean, certificate: Uint8Array): Uint8Array {
  const payload = joined(uint16(1), Uint8Array.of(seconds, seconds), certificate);
  return encodeZclCommand(sequence, { id: 0, fromServer, payload });
}

/** The public part of the key that a side has drawn for this exchange. @see Smart Energy §C.3.1.2.3.2 */
export function encodeEphemeralData(sequence: number, fromServer: boolean, key: Uint8Array): Uint8Array {
  return encodeZclCommand(sequence, { id: 1, fromServer, payload: key });
}

/** The proof that a side holds the key. @see Smart Energy §C.3.1.2.3.3 */
export function encodeConfirmKeyData(sequence: number, fromServer: boolean, mac: Uint8Array): Uint8Array {
  return encodeZclCommand(sequence, { id: 2, fromServer, payload: mac });
}
