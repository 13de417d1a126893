import { uint16, uint8 } from "../encoding.ts";
import { type Eui64, eui64Bytes } from "../eui64.ts";
import { joined } from "../security/mmo-hash.ts";
import { ApsCommandId, isNetworkKeyType, KeyType } from "./aps-command.ts";

/** A key on its way. */
export interface TransportedKey {
  /** A `KeyType`. */
  readonly keyType: number;
  readonly key: Uint8Array;
  /** Of network keys only. */
  readonly sequence: number;
  /** Whom the key is for; of application keys, the partner. */
  readonly destination: Eui64;
  /** The trust centre. */
  readonly source: Eui64;
  /** Of application keys: whether the receiver asked for it. */
  readonly initiator?: boolean;
}

/** @see Zigbee §4.4.10.1 */
export function encodeTransportKey(transported: TransportedKey): Uint8Array {
  const { keyType, key, destination } = transported;
  const head = joined(Uint8Array.of(ApsCommandId.transportKey, keyType), key);
  if (keyType === KeyType.applicationLinkKey || keyType === KeyType.applicationMasterKey) {
    return joined(head, eui64Bytes(destination), uint8(transported.initiator === true ? 1 : 0));
  }
  const sequence = isNetworkKeyType(keyType) ? uint8(transported.sequence) : new Uint8Array(0);
  return joined(head, sequence, eui64Bytes(destination), eui64Bytes(transported.source));
}

/** `status`: 0 secured rejoin, 1 unsecured join, 2 left, 3 unsecured rejoin. @see Zigbee §4.4.10.2 */
export function encodeUpdateDevice(device: Eui64, shortAddress: number, status: number): Uint8Array {
  return joined(uint8(ApsCommandId.updateDevice), eui64Bytes(device), uint16(shortAddress), uint8(status));
}

/** @see Zigbee §4.4.10.3 */
export function encodeRemoveDevice(device: Eui64): Uint8Array {
  return joined(uint8(ApsCommandId.removeDevice), eui64Bytes(device));
}

/** `keyType`: 2 application key with `partner`, 4 trust centre link key. @see Zigbee §4.4.10.4 */
export function encodeRequestKey(keyType: number, partner?: Eui64): Uint8Array {
  const head = Uint8Array.of(ApsCommandId.requestKey, keyType);
  return partner === undefined ? head : joined(head, eui64Bytes(partner));
}

/** @see Zigbee §4.4.10.5 */
export function encodeSwitchKey(sequence: number): Uint8Array {
  return Uint8Array.of(ApsCommandId.switchKey, sequence);
}

/** Carries an APS frame, protected with a key of the receiver's child, to the receiver. @see Zigbee §4.4.10.6 */
export function encodeTunnel(destination: Eui64, frame: Uint8Array): Uint8Array {
  return joined(uint8(ApsCommandId.tunnel), eui64Bytes(destination), frame);
}

/** @see Zigbee §4.4.10.7 */
export function encodeVerifyKey(source: Eui64, hash: Uint8Array): Uint8Array {
  const head = Uint8Array.of(ApsCommandId.verifyKey, KeyType.trustCenterLinkKey);
  return joined(head, eui64Bytes(source), hash);
}

/** `status`: 0 success. @see Zigbee §4.4.10.8 */
export function encodeConfirmKey(status: number, destination: Eui64): Uint8Array {
  const head = Uint8Array.of(ApsCommandId.confirmKey, status, KeyType.trustCenterLinkKey);
  return joined(head, eui64Bytes(destination));
}

/** `id`: which of the four messages; `data`: a challenge (1, 2) or a tag (3, 4). @see Zigbee-2007 §4.4.9.1 */
export function encodeSkke(
  id: number,
  pair: { readonly initiator: Eui64; readonly responder: Eui64 },
  data: Uint8Array,
): Uint8Array {
  return joined(uint8(id), eui64Bytes(pair.initiator), eui64Bytes(pair.responder), data);
}
