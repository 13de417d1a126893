import { type Eui64 } from "@postern/zigbee/eui64";

import { type Place } from "./radio/medium.ts";
import { type SecuritySettings, type StackSettings } from "./settings.ts";

/** What a device does for its owner. */
export type Application = "none" | "thermometer" | "contact" | "lamp";

/** A device of a network before it starts. */
export interface NodePlan extends Place {
  readonly name: string;
  readonly address: Eui64;
  readonly kind: "coordinator" | "router" | "end-device";
  readonly sleeps: boolean;
  readonly application: Application;
  /** When it is switched on. */
  readonly startSeconds: number;
  /** How often a sleeping device asks its parent for frames. */
  readonly pollSeconds: number;
  /** Mean time between reports, events or commands. */
  readonly intervalSeconds: number;
  /** When it is switched off for good; `undefined`: never. */
  readonly stopSeconds?: number | undefined;
}

/** Noise of something else in the band: a Wi-Fi access point, an oven. */
export interface Interference extends Place {
  readonly channel: number;
  readonly powerDbm: number;
  readonly burstUs: number;
  /** Mean pause between two bursts. */
  readonly pauseUs: number;
}

/** Who records: everywhere at once and without loss, or at a place, hearing what a receiver there would hear. */
export type Sniffer = "everywhere" | Place;

/** A network, its devices and surroundings, and how long it is watched. */
export interface Scenario {
  readonly name: string;
  readonly topology: "star" | "tree" | "mesh";
  readonly seconds: number;
  /** Messages count from here on: before, devices join. */
  readonly warmUpSeconds: number;
  readonly channel: number;
  readonly pan: number;
  readonly extendedPan: Eui64;
  readonly nodes: readonly NodePlan[];
  readonly stack: StackSettings;
  readonly security: SecuritySettings;
  /** Part of the frames that are lost for no other reason. */
  readonly lossShare: number;
  /** Standard deviation of what walls add to the loss of a link. */
  readonly shadowDb: number;
  readonly interference: readonly Interference[];
  readonly sniffer: Sniffer;
}
