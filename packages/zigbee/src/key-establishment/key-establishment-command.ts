import { type Stopped } from "../cursor.ts";
import { decodeZclFrame } from "../zcl/zcl-frame.ts";
import { type CbkeSuite, cbkeSuite1, cbkeSuite2 } from "./cbke.ts";

/** The cluster in which two devices establish a key by certificates. @see Smart Energy Annex C.3 */
export const keyEstablishmentCluster = 0x0800;

/** What a message of the cluster carries; the client is the initiator. Byte arrays are views of what was given. */
export type KeyEstablishmentCommand = { readonly fromServer: boolean } & (
  | { readonly kind: "initiate"; readonly suite: CbkeSuite; readonly certificate: Uint8Array }
  | { readonly kind: "ephemeral-data"; readonly key: Uint8Array }
  | { readonly kind: "confirm-key"; readonly mac: Uint8Array }
  | { readonly kind: "other"; readonly stopped: Stopped | undefined }
);

const initiateBytes = 4;

/** Decodes the ZCL frame of a key establishment message. Never throws. @see Smart Energy §C.3.1.2.3 */
export function decodeKeyEstablishment(
  bytes: Uint8Array,
  start: number,
  end: number,
): KeyEstablishmentCommand {
  const { clusterSpecific, fromServer, command, payload, stopped } = decodeZclFrame(bytes, start, end);
  const other = { fromServer, kind: "other", stopped } as const;
  if (stopped !== undefined || !clusterSpecific) return other;
  if (command === 0) {
    const suite = payload[0] === 1 ? cbkeSuite1 : payload[0] === 2 ? cbkeSuite2 : undefined;
    if (suite === undefined || payload.length < initiateBytes + suite.certificateBytes) return other;
    const certificate = payload.subarray(initiateBytes, initiateBytes + suite.certificateBytes);
    return { fromServer, kind: "initiate", suite, certificate };
  }
  if (command === 1) return { fromServer, kind: "ephemeral-data", key: payload };
  return command === 2 && payload.length >= 16
    ? { fromServer, kind: "confirm-key", mac: payload.subarray(0, 16) }
    : other;
}
