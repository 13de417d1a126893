import { createAesKey, decryptBlock, encryptBlock } from "./aes.ts";

/** What both sides of a touchlink know before they agree on a key. @see Zigbee Light Link §8.7.4 */
export interface TouchlinkTransaction {
  readonly transactionId: number;
  readonly responseId: number;
}

function transportKey(masterKey: Uint8Array, transaction: TouchlinkTransaction): Uint8Array {
  const expanded = new Uint8Array(16);
  const view = new DataView(expanded.buffer);
  view.setUint32(0, transaction.transactionId);
  view.setUint32(4, transaction.transactionId);
  view.setUint32(8, transaction.responseId);
  view.setUint32(12, transaction.responseId);
  return encryptBlock(createAesKey(masterKey), expanded);
}

/** The network key that a touchlink command carries encrypted. @see Zigbee Light Link §8.7.4.2 */
export function decryptTouchlinkKey(
  masterKey: Uint8Array,
  transaction: TouchlinkTransaction,
  encrypted: Uint8Array,
): Uint8Array {
  return decryptBlock(createAesKey(transportKey(masterKey, transaction)), encrypted);
}

/** A network key as a touchlink command carries it. @see Zigbee Light Link §8.7.4.1 */
export function encryptTouchlinkKey(
  masterKey: Uint8Array,
  transaction: TouchlinkTransaction,
  networkKey: Uint8Array,
): Uint8Array {
  return encryptBlock(createAesKey(transportKey(masterKey, transaction)), networkKey);
}
