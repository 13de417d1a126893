import { uint16, uint8 } from "../encoding.ts";
import { joined } from "../security/mmo-hash.ts";
import { ApsDelivery, ApsFrameType } from "./aps-frame.ts";

/** Between which endpoints and for which cluster a message is. */
export interface ApsAddress {
  readonly destinationEndpoint: number;
  readonly sourceEndpoint: number;
  readonly cluster: number;
  readonly profile: number;
}

function endpoints(to: ApsAddress): Uint8Array {
  return joined(
    uint8(to.destinationEndpoint),
    uint16(to.cluster),
    uint16(to.profile),
    uint8(to.sourceEndpoint),
  );
}

/** The header of a data frame. @see Zigbee §2.2.5.2.1 */
export function encodeApsDataHeader(
  to: ApsAddress & {
    readonly counter: number;
    readonly broadcast: boolean;
    readonly security: boolean;
    readonly acknowledgmentRequest: boolean;
  },
): Uint8Array {
  const delivery = to.broadcast ? ApsDelivery.broadcast : ApsDelivery.unicast;
  const control =
    ApsFrameType.data |
    (delivery << 2) |
    (to.security ? 0x20 : 0) |
    (to.acknowledgmentRequest && !to.broadcast ? 0x40 : 0);
  return joined(uint8(control), endpoints(to), uint8(to.counter));
}

/** The acknowledgement of a data frame, or its header when it is protected. @see Zigbee §2.2.5.2.3 */
export function encodeApsAcknowledgment(
  of: ApsAddress & { readonly counter: number; readonly security: boolean },
): Uint8Array {
  const back = {
    ...of,
    destinationEndpoint: of.sourceEndpoint,
    sourceEndpoint: of.destinationEndpoint,
  };
  const control = ApsFrameType.acknowledgment | (of.security ? 0x20 : 0);
  return joined(uint8(control), endpoints(back), uint8(of.counter));
}

/** The header of a command frame. @see Zigbee §2.2.5.2.2 */
export function encodeApsCommandHeader(counter: number, security: boolean): Uint8Array {
  return Uint8Array.of(ApsFrameType.command | (security ? 0x20 : 0), counter);
}
