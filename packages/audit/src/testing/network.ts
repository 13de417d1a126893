import { type CapturedFrame } from "@postern/zigbee/capture/captured-frame";
import { type Eui64, eui64At } from "@postern/zigbee/eui64";
import { Keyring } from "@postern/zigbee/keyring";
import { encodeAcknowledgment } from "@postern/zigbee/mac/encode-mac-frame";
import * as build from "@postern/zigbee/testing";

import { type AuditReport, auditZigbee } from "../zigbee/audit.ts";

/*
 * A network of a coordinator and a device, and the audit of what they say.
 */

export const pan = 0x1a62;
export const networkKey = build.unhex("5f1e2d3c4b5a69788796a5b4c3d2e1f0");
export const linkKey = build.unhex("9a8b7c6d5e4f30211203948576675849");
export const centre = addressOf(1, 0x4b12);
export const device = addressOf(2);
export const other = addressOf(3);
export const deviceShort = 0x970b;

/** A device's address by number. */
export function addressOf(index: number, maker = 0x8d15): Eui64 {
  return eui64At(Uint8Array.of(index & 0xff, index >> 8, 0, 0, 0, maker >> 8, maker & 0xff, 0), 0);
}

let counter = 1;

/** Frame counters that no frame had before. */
export function nextCounter(): number {
  return ++counter;
}

/** A protected frame that asks for an acknowledgement; without options an application frame from the device to the coordinator. */
export function data(
  options: {
    readonly from?: Eui64;
    readonly source?: number;
    readonly destination?: number;
    readonly key?: Uint8Array;
    readonly payload?: Uint8Array;
  } = {},
): Uint8Array {
  const { from = device, source = deviceShort, destination = 0, key = networkKey } = options;
  const nwk = build.nwkFrame(
    { destination, source, protection: { key, source: from, counter: nextCounter() } },
    options.payload ?? build.apsData(),
  );
  return build.macData({ pan, destination, source, macSequence: counter & 0xff }, nwk);
}

/** What the coordinator sends to the device. */
export function own(): Uint8Array {
  return data({ from: centre, source: 0, destination: deviceShort });
}

/** The acknowledgement of a frame. */
export function acknowledged(frame: Uint8Array): Uint8Array {
  return encodeAcknowledgment(frame[2] ?? 0, false);
}

/** What the audit makes of a capture, with the keys of the network and others. */
export function audited(
  frames: readonly CapturedFrame[],
  ...otherKeys: readonly Uint8Array[]
): Promise<AuditReport> {
  const keyring = new Keyring();
  for (const key of [networkKey, ...otherKeys]) keyring.add(key, "network", { kind: "given" });
  keyring.add(linkKey, "link", { kind: "given" });
  return auditZigbee({
    keyring,
    showKeys: false,
    read: (onFrame) => {
      frames.forEach(onFrame);
      return Promise.resolve();
    },
  });
}

/** `rule: frames` of every finding. */
export async function found(...args: Parameters<typeof audited>): Promise<string[]> {
  const { findings } = await audited(...args);
  return findings.map(({ id, frames }) => `${id}: ${frames.join(" ")}`);
}
