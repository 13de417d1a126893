import assert from "node:assert/strict";
import { describe, it } from "node:test";

import { type CapturedFrame } from "@postern/zigbee/capture/captured-frame";
import { eui64Bytes } from "@postern/zigbee/eui64";
import { joined } from "@postern/zigbee/security/mmo-hash";
import * as build from "@postern/zigbee/testing";

import {
  acknowledged,
  centre,
  data,
  device,
  deviceShort,
  found,
  linkKey,
  networkKey,
  nextCounter,
  other,
  own,
  pan,
} from "../testing/network.ts";

const { unhex } = build;

/** What somebody with the device's key sends in place of the coordinator. */
function forged(): Uint8Array {
  return data({ from: device, source: 0, destination: deviceShort });
}

/** Ten frames of the coordinator, then ten to it, which are acknowledged at some strength. */
function heard(strength: number): CapturedFrame[] {
  const frames: CapturedFrame[] = [];
  let timeUs = 1_700_000_000_000_000;
  const hear = (bytes: Uint8Array, rssi: number, afterUs: number): void => {
    timeUs += afterUs;
    const number = frames.length + 1;
    frames.push({ number, timeUs, bytes, frameCheck: "good", rssi, channel: undefined });
  };
  for (let index = 0; index < 10; index++) hear(own(), -60, 10_000);
  for (let index = 0; index < 10; index++) {
    const frame = data();
    hear(frame, -50, 50_000);
    hear(acknowledged(frame), strength, 2_000);
  }
  return frames;
}

/** Acknowledgements of the coordinator and frames of its own, both as strong as it is heard at that time. */
function wandering(strengthAt: (step: number) => number): CapturedFrame[] {
  const frames: CapturedFrame[] = [];
  let timeUs = 1_700_000_000_000_000;
  const hear = (bytes: Uint8Array, rssi: number, afterUs: number): void => {
    timeUs += afterUs;
    const number = frames.length + 1;
    frames.push({ number, timeUs, bytes, frameCheck: "good", rssi, channel: undefined });
  };
  for (let step = 0; step < 300; step++) {
    if (step % 6 === 0) {
      hear(own(), strengthAt(step), 50_000);
      continue;
    }
    const frame = data();
    hear(frame, -50, 50_000);
    hear(acknowledged(frame), strengthAt(step), 2_000);
  }
  return frames;
}

/** An application message that asks for its confirmation, and the confirmation. */
function message(apsCounter: number): Uint8Array {
  const payload = build.apsData();
  payload[0] = 0x40;
  payload[7] = apsCounter;
  return data({ payload });
}

function confirmation(apsCounter: number): Uint8Array {
  const payload = Uint8Array.of(0x02, 1, 6, 0, 4, 1, 1, apsCounter);
  return data({ from: centre, source: 0, destination: deviceShort, payload });
}

/** The answer to an association request, and the network key under the device's link key. */
function answer(short: number): Uint8Array {
  const header = joined(unhex("63cc 01"), Uint8Array.of(pan & 0xff, pan >> 8));
  const addresses = joined(eui64Bytes(device), eui64Bytes(centre));
  return joined(header, addresses, unhex("02"), Uint8Array.of(short & 0xff, short >> 8, 0));
}

function transport(): Uint8Array {
  const protection = { key: linkKey, source: centre, counter: nextCounter(), identifier: 2 };
  const command = build.apsCommand(build.transportKey(1, networkKey, device, centre), protection);
  const nwk = build.nwkFrame({ destination: deviceShort, source: 0 }, command);
  return build.macData({ pan, destination: deviceShort, source: 0, macSequence: nextCounter() & 0xff }, nwk);
}

/** The device asks for frames, and gets one that it must reject. */
function poll(): Uint8Array {
  return joined(unhex("6388 07"), Uint8Array.of(pan & 0xff, pan >> 8), unhex("0000 0b97 04"));
}

function bogus(): Uint8Array {
  return data({ from: centre, source: 0, destination: deviceShort, key: linkKey });
}

describe("the use of a stolen key", () => {
  it("is found where two devices speak in turn under one address", async () => {
    assert.deepEqual(await found(build.captured([own(), own(), forged(), own(), forged()])), [
      "ZB-IDENTITY: 4 5",
    ]);
  });

  it("is not an address that changes hands once, nor a frame that the key does not open", async () => {
    const wrong = data({ from: other, key: linkKey });
    const frames = [data(), wrong, data(), data({ from: other }), data({ from: other })];
    assert.deepEqual(await found(build.captured(frames)), []);
  });
});

describe("honest networks that look strange", () => {
  const otherKey = unhex("1e2d3c4b5a69788796a5b4c3d2e1f05f");

  it("are two that have one PAN id, and a coordinator each", async () => {
    const theirs = () =>
      data({ from: other, source: 0, destination: deviceShort, key: otherKey, payload: build.apsData() });
    const frames = build.captured([own(), theirs(), own(), theirs(), own(), theirs()]);
    assert.deepEqual(await found(frames, otherKey), []);
  });

  it("give one device link keys for two partners", async () => {
    const frames = [other, centre].map((partner, index) => {
      const key = linkKey.map((byte) => byte ^ (index + 1));
      const payload = joined(Uint8Array.of(5, 3), key, eui64Bytes(partner), Uint8Array.of(1));
      const protection = { key: linkKey, source: centre, counter: nextCounter(), identifier: 3 };
      return data({
        from: centre,
        source: 0,
        destination: deviceShort,
        payload: build.apsCommand(payload, protection),
      });
    });
    assert.deepEqual(await found(build.captured(frames)), []);
  });

  it("hand one report of a PAN id conflict on from router to router", async () => {
    const report = joined(Uint8Array.of(9, 1), eui64Bytes(centre), unhex("621a"));
    const frames = [4, 3, 2, 1].map((hop) => {
      const protection = { key: networkKey, source: other, counter: nextCounter() };
      const nwk = { destination: 0, source: 5, sequence: 77, radius: 20 + hop, command: true, protection };
      const to = { pan, destination: hop - 1, source: hop, macSequence: nextCounter() & 0xff };
      return build.macData(to, build.nwkFrame(nwk, report));
    });
    assert.deepEqual(await found(build.captured(frames)), []);
  });
});

describe("forged acknowledgements", () => {
  it("are found by a strength that is not the receiver's", async () => {
    assert.deepEqual(await found(heard(-45)), ["ZB-ACK-FORGED: 20 22 24 26 28 30"]);
  });

  it("are not acknowledgements of the receiver, whose strength varies a little", async () => {
    assert.deepEqual(await found(heard(-64)), []);
  });

  it("leave messages that are sent again and again and never confirmed", async () => {
    const frames = [1, 2, 3].flatMap((apsCounter) => {
      const tries = [message(apsCounter), message(apsCounter)];
      return tries.flatMap((frame) => [frame, acknowledged(frame)]);
    });
    assert.deepEqual(await found(build.captured(frames, 2_000)), ["ZB-UNCONFIRMED: 3 7 11"]);
  });

  it("are not behind messages of which the sniffer hears one side only", async () => {
    const frames = [1, 2, 3, 4].flatMap((n) => [message(n), message(n)]);
    assert.deepEqual(await found(build.captured(frames)), []);
    const again = [1, 2, 3, 4].map(message).flatMap((frame) => [frame, frame, acknowledged(frame)]);
    assert.deepEqual(await found(build.captured(again, 5_000)), [], "the MAC sends again");
  });

  it("are not acknowledgements of a receiver whose strength varies by much, nor of one that moves", async () => {
    assert.deepEqual(await found(wandering((step) => -60 + 14 * Math.sin(3 * step))), []);
    assert.deepEqual(await found(wandering((step) => (step < 30 ? -50 : -65))), []);
  });

  it("are not behind messages that are confirmed at the second try", async () => {
    const frames = [1, 2, 3, 4].flatMap((n) => [message(n), message(n), confirmation(n)]);
    assert.deepEqual(await found(build.captured(frames)), []);
  });
});

describe("a link key that is used again", () => {
  it("is found when a device is let in a second time under it", async () => {
    const frames = [answer(deviceShort), transport(), data(), answer(0x1234), transport()];
    assert.deepEqual(await found(build.captured(frames)), ["ZB-LINK-KEY-REUSED: 5"]);
  });

  it("is not one whose Transport Key is sent twice for one join, or again after a join that failed", async () => {
    const frames = [answer(deviceShort), transport(), transport(), data()];
    assert.deepEqual(await found(build.captured(frames)), []);
    const failed = [answer(deviceShort), transport(), answer(0x1234), transport(), data()];
    assert.deepEqual(await found(build.captured(failed)), [], "the first join came to nothing");
  });
});

describe("a sleeping device that somebody waits for", () => {
  it("is found after three frames that it must reject, each right after it has asked", async () => {
    const frames = [data(), ...[1, 2, 3].flatMap(() => [poll(), bogus()])];
    assert.ok((await found(build.captured(frames, 20_000))).includes("ZB-GHOST: 7"));
  });

  it("is not one to which frames under another key are sent at other times", async () => {
    const frames = [data(), ...[1, 2, 3].flatMap(() => [poll(), bogus()])];
    const ids = await found(build.captured(frames, 100_000));
    assert.ok(!ids.some((id) => id.startsWith("ZB-GHOST")));
  });
});
