import { type Protocol } from "./dissection.ts";
import { GreenPowerApplication } from "./green-power/green-power-frame.ts";
import { type MacFrame } from "./mac/mac-frame.ts";
import { greenPowerVersion, isZigbeePro, NwkFrameType, peekNwkFrameControl } from "./nwk/nwk-frame.ts";

/**
 * What the payload of a MAC data frame is, judged by its first bytes. Protocols over IEEE 802.15.4 do not name themselves:
 * Zigbee is recognized by its protocol version and reserved bits, RF4CE by the reserved bit that it sets, 6LoWPAN by its dispatch.
 * @see Zigbee §3.3.1.1, RF4CE §3.3.1.1, RFC 4944 §5.1, RFC 6282 §3
 */
export function recognizeProtocol(mac: MacFrame, bytes: Uint8Array, start: number, end: number): Protocol {
  const frameControl = peekNwkFrameControl(bytes, start, end);
  if (frameControl === -1) return end > start ? "other" : "mac";
  if (isZigbeePro(frameControl)) {
    return (frameControl & 3) === NwkFrameType.interPan ? "inter-pan" : "zigbee";
  }
  const first = frameControl & 0xff;
  if (
    ((first >> 2) & 0xf) === greenPowerVersion &&
    (first & 3) < 2 &&
    isGreenPowerSender(mac, frameControl)
  ) {
    return "green-power";
  }
  if ((first & 0x38) === 0x28 && (first & 3) !== 0) return "rf4ce";
  const dispatch6lowpan =
    first === 0x41 || (first & 0xe0) === 0x60 || (first & 0xf8) === 0xc0 || (first & 0xf8) === 0xe0;
  return dispatch6lowpan || (first & 0xc0) === 0x80 ? "6lowpan" : "other";
}

/** Green Power devices say who they are in the NWK header, or by the long address of the MAC header. @see Zigbee Green Power (14-0563) §A.1.4.1.2 */
function isGreenPowerSender({ source, sourceShort }: MacFrame, frameControl: number): boolean {
  if (source === undefined) return sourceShort === -1;
  return (frameControl & 0x80) !== 0 && ((frameControl >> 8) & 7) === GreenPowerApplication.address;
}
