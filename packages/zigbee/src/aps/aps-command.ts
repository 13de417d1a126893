import {
  createCursor,
  left,
  readBytes,
  readEui64,
  readRest,
  readUint16,
  readUint8,
  type Stopped,
} from "../cursor.ts";
import { type Eui64 } from "../eui64.ts";

/** @see Zigbee Table 4-27 */
export const ApsCommandId = {
  skke1: 0x01,
  skke2: 0x02,
  skke3: 0x03,
  skke4: 0x04,
  transportKey: 0x05,
  updateDevice: 0x06,
  removeDevice: 0x07,
  requestKey: 0x08,
  switchKey: 0x09,
  entityAuthenticationInitiatorChallenge: 0x0a,
  entityAuthenticationResponderChallenge: 0x0b,
  entityAuthenticationInitiatorMac: 0x0c,
  entityAuthenticationResponderMac: 0x0d,
  tunnel: 0x0e,
  verifyKey: 0x0f,
  confirmKey: 0x10,
} as const;

/** What a Transport Key carries. @see Zigbee Table 4-10 */
export const KeyType = {
  trustCenterMasterKey: 0,
  standardNetworkKey: 1,
  applicationMasterKey: 2,
  applicationLinkKey: 3,
  trustCenterLinkKey: 4,
  highSecurityNetworkKey: 5,
} as const;

/** How people call a `KeyType`. */
export const keyTypeNames: readonly string[] = [
  "trust centre master key",
  "network key",
  "application master key",
  "application link key",
  "trust centre link key",
  "high-security network key",
];

/** Whether a `KeyType` is one of the two network keys. */
export function isNetworkKeyType(keyType: number): boolean {
  return keyType === KeyType.standardNetworkKey || keyType === KeyType.highSecurityNetworkKey;
}

/** An APS command, decrypted. Fields past the end of a cut frame are empty, and `stopped` says so. @see Zigbee §4.4.10 */
export type ApsCommand = { readonly id: number; readonly stopped: Stopped | undefined } & (
  | {
      readonly kind: "transport-key";
      readonly keyType: number;
      /** Sixteen bytes, or none. */
      readonly key: Uint8Array;
      /** Network keys only, otherwise -1. */
      readonly sequence: number;
      /** Whom the key is for (network, trust centre keys), or the partner (application keys). */
      readonly destination: Eui64 | undefined;
      /** The trust centre; all ones in a distributed network. */
      readonly source: Eui64 | undefined;
    }
  | {
      readonly kind: "skke";
      readonly initiator: Eui64 | undefined;
      readonly responder: Eui64 | undefined;
      /** The challenge (SKKE-1, SKKE-2) or the tag (SKKE-3, SKKE-4). */
      readonly data: Uint8Array;
    }
  | {
      readonly kind: "update-device";
      readonly device: Eui64 | undefined;
      readonly shortAddress: number;
      readonly status: number;
    }
  | { readonly kind: "remove-device"; readonly device: Eui64 | undefined }
  | { readonly kind: "request-key"; readonly keyType: number; readonly partner: Eui64 | undefined }
  | { readonly kind: "switch-key"; readonly sequence: number }
  /** `start` and `end`: where the APS frame that is carried lies. */
  | {
      readonly kind: "tunnel";
      readonly destination: Eui64 | undefined;
      readonly start: number;
      readonly end: number;
    }
  | {
      readonly kind: "verify-key";
      readonly keyType: number;
      readonly source: Eui64 | undefined;
      readonly hash: Uint8Array;
    }
  | {
      readonly kind: "confirm-key";
      readonly status: number;
      readonly keyType: number;
      readonly destination: Eui64 | undefined;
    }
  | { readonly kind: "other"; readonly payload: Uint8Array }
);

/** Decodes an APS command's payload. Never throws. */
export function decodeApsCommand(bytes: Uint8Array, start = 0, end: number = bytes.length): ApsCommand {
  const cursor = createCursor(bytes, start, end);
  const id = readUint8(cursor, "APS command identifier");
  switch (id) {
    case ApsCommandId.skke1:
    case ApsCommandId.skke2:
    case ApsCommandId.skke3:
    case ApsCommandId.skke4: {
      const initiator = readEui64(cursor, "initiator");
      const responder = readEui64(cursor, "responder");
      const data = readBytes(cursor, 16, "key establishment data");
      return { kind: "skke", id, initiator, responder, data, stopped: cursor.stopped };
    }
    case ApsCommandId.transportKey: {
      const keyType = readUint8(cursor, "key type");
      const key = readBytes(cursor, 16, "key");
      const sequence = isNetworkKeyType(keyType) ? readUint8(cursor, "key sequence number") : -1;
      const destination = readEui64(cursor, "destination of the key");
      // After the partner of an application key stands whether this device asked for it, not an address.
      const isApplicationKey =
        keyType === KeyType.applicationLinkKey || keyType === KeyType.applicationMasterKey;
      const source = isApplicationKey ? undefined : readEui64(cursor, "source of the key");
      return {
        kind: "transport-key",
        id,
        keyType,
        key,
        sequence,
        destination,
        source,
        stopped: cursor.stopped,
      };
    }
    case ApsCommandId.updateDevice: {
      const device = readEui64(cursor, "device");
      const shortAddress = readUint16(cursor, "short address");
      const status = readUint8(cursor, "status");
      return { kind: "update-device", id, device, shortAddress, status, stopped: cursor.stopped };
    }
    case ApsCommandId.removeDevice:
      return { kind: "remove-device", id, device: readEui64(cursor, "device"), stopped: cursor.stopped };
    case ApsCommandId.requestKey: {
      const keyType = readUint8(cursor, "key type");
      const partner = left(cursor) >= 8 ? readEui64(cursor, "partner") : undefined;
      return { kind: "request-key", id, keyType, partner, stopped: cursor.stopped };
    }
    case ApsCommandId.switchKey: {
      const sequence = readUint8(cursor, "key sequence number");
      return { kind: "switch-key", id, sequence, stopped: cursor.stopped };
    }
    case ApsCommandId.tunnel: {
      const destination = readEui64(cursor, "destination");
      return {
        kind: "tunnel",
        id,
        destination,
        start: cursor.offset,
        end: cursor.end,
        stopped: cursor.stopped,
      };
    }
    case ApsCommandId.verifyKey: {
      const keyType = readUint8(cursor, "key type");
      const source = readEui64(cursor, "source");
      const hash = readBytes(cursor, 16, "hash");
      return { kind: "verify-key", id, keyType, source, hash, stopped: cursor.stopped };
    }
    case ApsCommandId.confirmKey: {
      const status = readUint8(cursor, "status");
      const keyType = readUint8(cursor, "key type");
      const destination = readEui64(cursor, "destination");
      return { kind: "confirm-key", id, status, keyType, destination, stopped: cursor.stopped };
    }
    default:
      return { kind: "other", id, payload: readRest(cursor), stopped: cursor.stopped };
  }
}
