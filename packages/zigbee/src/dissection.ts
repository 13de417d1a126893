import { type ApsCommand } from "./aps/aps-command.ts";
import { type ApsFrame } from "./aps/aps-frame.ts";
import { type CapturedFrame } from "./capture/captured-frame.ts";
import { type GreenPowerFrame } from "./green-power/green-power-frame.ts";
import { type ZigbeeKey } from "./keyring.ts";
import { type MacFrame } from "./mac/mac-frame.ts";
import { type NwkFrame } from "./nwk/nwk-frame.ts";

/** What became of a layer's protection: there is none, a key opened it, or none did. */
export type Protection = "none" | "opened" | "unopened";

/** What the MAC payload is. `secured`: protected by the MAC, so Zigbee PRO does not use it. */
export type Protocol =
  | "mac"
  | "zigbee"
  | "inter-pan"
  | "green-power"
  | "rf4ce"
  | "6lowpan"
  | "secured"
  | "other"
  | "malformed";

/**
 * Everything that could be read of one frame. Layers that are not there, or that lie under protection that no key opened, are
 * `undefined`. Byte arrays are valid until the next frame is dissected.
 */
export interface Dissection {
  readonly frame: CapturedFrame;
  readonly mac: MacFrame;
  protocol: Protocol;
  /** Why reading ended before the end of the frame. */
  stopped: string | undefined;
  macProtection: Protection;
  /** The MAC payload, opened if it was protected. */
  macPayload: Uint8Array;
  macPayloadStart: number;
  macPayloadEnd: number;
  nwk: NwkFrame | undefined;
  nwkProtection: Protection;
  /** Which key opened the NWK frame, and the level that it was protected with. */
  nwkKey: ZigbeeKey | undefined;
  nwkLevel: number;
  /** The NWK payload in clear: `nwkPayload[nwkPayloadStart…nwkPayloadEnd)`. */
  nwkPayload: Uint8Array | undefined;
  nwkPayloadStart: number;
  nwkPayloadEnd: number;
  aps: ApsFrame | undefined;
  apsProtection: Protection;
  apsKey: ZigbeeKey | undefined;
  /** The APS payload in clear: `apsPayload[apsPayloadStart…apsPayloadEnd)`. */
  apsPayload: Uint8Array | undefined;
  apsPayloadStart: number;
  apsPayloadEnd: number;
  /** The APS command, if the frame is one. Of a tunnel, the command that it carries. */
  apsCommand: ApsCommand | undefined;
  /** `apsCommand` came in a tunnel, whose own APS layer `aps` describes no more. */
  tunnelled: boolean;
  greenPower: GreenPowerFrame | undefined;
}

/** A dissection that knows the MAC header only. */
export function createDissection(frame: CapturedFrame, mac: MacFrame): Dissection {
  return {
    frame,
    mac,
    protocol: "mac",
    stopped: mac.stopped?.reason,
    macProtection: "none",
    macPayload: frame.bytes,
    macPayloadStart: mac.payloadStart,
    macPayloadEnd: mac.payloadEnd,
    nwk: undefined,
    nwkProtection: "none",
    nwkKey: undefined,
    nwkLevel: 0,
    nwkPayload: undefined,
    nwkPayloadStart: 0,
    nwkPayloadEnd: 0,
    aps: undefined,
    apsProtection: "none",
    apsKey: undefined,
    apsPayload: undefined,
    apsPayloadStart: 0,
    apsPayloadEnd: 0,
    apsCommand: undefined,
    tunnelled: false,
    greenPower: undefined,
  };
}
