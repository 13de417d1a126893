import { type Cursor, readUint32, readUint8 } from "../cursor.ts";
import { type Eui64, eui64At } from "../eui64.ts";

/** Which key protects a frame. @see Zigbee §4.5.1.1.2 */
export const KeyIdentifier = {
  dataKey: 0,
  networkKey: 1,
  keyTransportKey: 2,
  keyLoadKey: 3,
} as const;

/** The auxiliary header of NWK and APS frames. @see Zigbee §4.5.1 */
export interface AuxiliaryHeader {
  /** Where the security control byte stands. */
  readonly controlOffset: number;
  /** As in the frame: the three bits of the level are usually sent as 0. */
  readonly control: number;
  readonly keyIdentifier: number;
  readonly frameCounter: number;
  /** With the extended nonce only. */
  readonly source: Eui64 | undefined;
  /** Of the network key; -1 when another key is used. */
  readonly keySequence: number;
}

/** Reads an auxiliary header; past the end the cursor says why. */
export function readAuxiliaryHeader(cursor: Cursor): AuxiliaryHeader {
  const controlOffset = cursor.offset;
  const control = readUint8(cursor, "auxiliary header");
  const frameCounter = readUint32(cursor, "auxiliary header");
  const keyIdentifier = (control >> 3) & 3;
  let source: Eui64 | undefined;
  if (control & 0x20) {
    const at = cursor.offset;
    readUint32(cursor, "auxiliary header");
    readUint32(cursor, "auxiliary header");
    if (cursor.stopped === undefined) source = eui64At(cursor.bytes, at);
  }
  const keySequence = keyIdentifier === KeyIdentifier.networkKey ? readUint8(cursor, "auxiliary header") : -1;
  return { controlOffset, control, keyIdentifier, frameCounter, source, keySequence };
}
