import { type KeyUse } from "./keyring.ts";

/** A key that anybody can look up, and therefore protects nothing. */
export interface KnownKey {
  readonly name: string;
  readonly hex: string;
  readonly uses: readonly KeyUse[];
}

/** The keys of the specifications and of products that came with one network key for all. */
export const knownKeys: readonly KnownKey[] = [
  { name: "ZigBeeAlliance09", hex: "5a6967426565416c6c69616e63653039", uses: ["link", "network"] },
  { name: "ZLL commissioning link key", hex: "814286865dc1c8b2c8cbc52e5d65d1b8", uses: ["link"] },
  { name: "ZLL certification link key", hex: "c0c1c2c3c4c5c6c7c8c9cacbcccdcecf", uses: ["link", "network"] },
  { name: "distributed certification link key", hex: "d0d1d2d3d4d5d6d7d8d9dadbdcdddedf", uses: ["link"] },
  { name: "Zigbee2MQTT default network key", hex: "01030507090b0d0f00020406080a0c0d", uses: ["network"] },
  { name: "all zeros", hex: "00000000000000000000000000000000", uses: ["link", "network"] },
];

/** The keys that touchlink commands protect a network key with, by key index. @see ZCL §13.3.4.10 */
export const touchlinkKeys: ReadonlyMap<number, string> = new Map([
  [4, "9f5595f10257c8a469cbf42bc93fee31"],
  [15, "c0c1c2c3c4c5c6c7c8c9cacbcccdcecf"],
]);
