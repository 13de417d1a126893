import assert from "node:assert/strict";
import { describe, it } from "node:test";

import { parseEui64 } from "@postern/zigbee/eui64";
import { Keyring } from "@postern/zigbee/keyring";
import * as build from "@postern/zigbee/testing";

import { Watch } from "./watch.ts";

const device = parseEui64("00:15:8d:00:00:00:00:02");
assert.ok(device !== undefined);
const key = build.unhex("5f1e2d3c4b5a69788796a5b4c3d2e1f0");
const to = { pan: 0x1a62, destination: 0, source: 0x970b, macSequence: 1 };

function secured(counter: number): Uint8Array {
  return build.macData(
    { ...to, macSequence: counter },
    build.nwkFrame(
      { destination: 0, source: 0x970b, protection: { key, source: device ?? raise(), counter } },
      build.apsData(),
    ),
  );
}

function raise(): never {
  throw new TypeError("the address can be parsed");
}

const plain = build.macData(to, build.nwkFrame({ destination: 0, source: 0x970b }, build.apsData()));

function watch(changes: { readonly framesMax?: number } = {}): Watch {
  const keyring = new Keyring();
  keyring.add(key, "network", { kind: "given" });
  const times = { windowUs: 60_000_000, againUs: 120_000_000, framesMax: changes.framesMax ?? 1_000 };
  return new Watch({ keyring, showKeys: false, ...times });
}

async function ids(watched: Watch): Promise<string[]> {
  return (await watched.look()).map(({ id }) => id);
}

describe("a watch", () => {
  it("tells a finding when it appears, once while it lasts, and again after a long time without it", async () => {
    const watched = watch();
    const feed = (frames: readonly Uint8Array[], atSeconds: number): void => {
      for (const frame of build.captured(frames)) {
        watched.add({ ...frame, timeUs: frame.timeUs + atSeconds * 1_000_000 });
      }
    };
    feed([1, 2, 3].map(secured), 0);
    assert.deepEqual(await ids(watched), []);
    feed([plain], 5);
    assert.deepEqual(await ids(watched), ["ZB-UNSECURED-DATA"]);
    assert.deepEqual(await ids(watched), []);
    feed([plain], 20);
    assert.deepEqual(await ids(watched), []);
    feed([secured(4), plain], 400);
    assert.deepEqual(await ids(watched), ["ZB-UNSECURED-DATA"]);
  });

  it("goes on when the clock of the sniffer is set back, or was wrong for one frame", async () => {
    const watched = watch();
    const [first, second, stray, third] = build.captured([secured(1), secured(2), secured(3), plain]);
    assert.ok(first !== undefined && second !== undefined && stray !== undefined && third !== undefined);
    watched.add(first);
    watched.add(second);
    watched.add({ ...stray, timeUs: stray.timeUs + 1e15 });
    assert.deepEqual(await ids(watched), []);
    watched.add({ ...second, timeUs: second.timeUs - 3_600_000_000 });
    watched.add({ ...third, timeUs: third.timeUs - 3_600_000_000 });
    assert.deepEqual(await ids(watched), ["ZB-UNSECURED-DATA"]);
  });

  it("keeps no more frames than it may, and none that are too old", async () => {
    const watched = watch({ framesMax: 100 });
    for (const frame of build.captured(Array.from({ length: 1_000 }, (_, index) => secured(index + 1)))) {
      watched.add(frame);
      assert.ok(watched.size <= 125);
    }
    await watched.look();
    assert.equal(watched.size, 100);
    const [late] = build.captured([secured(2_000)]);
    assert.ok(late !== undefined);
    watched.add({ ...late, timeUs: late.timeUs + 300_000_000 });
    await watched.look();
    assert.equal(watched.size, 1);
  });
});
