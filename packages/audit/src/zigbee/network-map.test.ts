import assert from "node:assert/strict";
import { describe, it } from "node:test";

import { type Eui64 } from "@postern/zigbee/eui64";

import { addressOf } from "../testing/network.ts";
import { type SeenDevice, type SeenNetwork } from "./inventory.ts";
import { networkMap } from "./network-map.ts";

function seen(index: number, role: SeenDevice["role"], parent?: number): SeenDevice {
  const from = parent === undefined ? undefined : addressOf(parent);
  return {
    address: addressOf(index),
    shortAddress: index,
    role,
    frames: 1,
    keyFrames: [],
    holdsKey: true,
    parent: from,
  };
}

function heights(...devices: readonly SeenDevice[]): ReadonlyMap<Eui64, number> {
  const network: SeenNetwork = {
    pan: 0x1a62,
    extendedPans: new Set(),
    keySequences: new Set(),
    devices: new Map(devices.map((device) => [device.address, device])),
  };
  const circles = networkMap(network).matchAll(/cy="(\d+)" r="12"><title>([^<]+)</g);
  const byText = new Map([...circles].map(([, y, address]) => [address, Number(y)]));
  return new Map(devices.map(({ address }) => [address, byText.get(address) ?? -1]));
}

describe("the map of a network", () => {
  it("has each device a row below its parent, whatever both are", () => {
    const y = heights(
      seen(0, "coordinator"),
      seen(1, "router", 0),
      seen(2, "router", 1),
      seen(3, "end device", 2),
      seen(4, "end device", 0),
      seen(5, "router"),
      seen(6, undefined),
    );
    assert.deepEqual([...y.values()], [60, 150, 240, 330, 150, 150, 420]);
  });

  it("ends where two devices are said to be parent of each other", () => {
    const y = heights(seen(1, "router", 2), seen(2, "router", 1), seen(3, "end device", 3));
    assert.ok([...y.values()].every((height) => height >= 60));
  });
});
