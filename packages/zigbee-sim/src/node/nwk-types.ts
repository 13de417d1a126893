import { type Eui64 } from "@postern/zigbee/eui64";
import { type NwkFrame } from "@postern/zigbee/nwk/nwk-frame";

import { type SendResult } from "./mac.ts";

/** NWK addresses from here on are broadcasts: all, all that listen, routers. @see Zigbee Table 3-55 */
export const NwkBroadcast = { lowest: 0xfff8, all: 0xffff, listening: 0xfffd, routers: 0xfffc } as const;

/** Not in any network. */
export const noAddress = 0xffff;

/** Where a device stands in its network. */
export interface NetworkPlace {
  pan: number;
  extendedPan: Eui64;
  short: number;
  depth: number;
  parent: number | undefined;
  updateId: number;
}

/** A device that has joined here. */
export interface Child {
  readonly address: Eui64;
  readonly short: number;
  readonly isRouter: boolean;
  readonly sleeps: boolean;
  /** It has shown that it holds the network key. */
  proved: boolean;
  readonly sinceUs: number;
}

/** A NWK frame that is to be sent or passed on: its protection is made anew at each hop. */
export interface Outgoing {
  readonly frameType: number;
  readonly destination: number;
  readonly source: number;
  readonly sourceExtended: Eui64 | undefined;
  readonly radius: number;
  readonly sequence: number;
  readonly payload: Uint8Array;
  readonly secured: boolean;
  readonly onDone: ((result: SendResult | "no-route") => void) | undefined;
}

/** A frame for this device, opened. */
export interface Received {
  readonly frame: NwkFrame;
  readonly payload: Uint8Array;
  readonly secured: boolean;
  /** The neighbour it came from. */
  readonly previousHop: number;
  /** Who has protected it: the neighbour, or `undefined`. */
  readonly protectedBy: Eui64 | undefined;
}

/** The shape of a network with tree addresses. */
export interface TreeShape {
  readonly childrenMax: number;
  readonly routersMax: number;
  readonly depthMax: number;
}
