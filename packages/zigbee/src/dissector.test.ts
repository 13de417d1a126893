import assert from "node:assert/strict";
import { describe, it } from "node:test";

import * as fc from "fast-check";

import { type CapturedFrame } from "./capture/captured-frame.ts";
import { Dissector } from "./dissector.ts";
import { parseEui64 } from "./eui64.ts";
import { Harvester } from "./harvest.ts";
import { Keyring, type KeyUse } from "./keyring.ts";
import { encryptTouchlinkKey } from "./security/touchlink-key.ts";
import { touchlinkKeys } from "./known-keys.ts";
import { joined } from "./security/mmo-hash.ts";
import { establishSkke } from "./security/skke.ts";
import * as build from "./testing.ts";

const { unhex, hex } = build;

function address(text: string) {
  const parsed = parseEui64(text);
  assert.ok(parsed !== undefined);
  return parsed;
}

const centre = address("00:12:4b:00:00:00:00:01");
const device = address("00:15:8d:00:00:00:00:02");
const networkKey = unhex("5f1e2d3c4b5a69788796a5b4c3d2e1f0");
const linkKey = unhex("9a8b7c6d5e4f30211203948576675849");
const to = { pan: 0x1a62, destination: 0x0000, source: 0x970b, macSequence: 1 };

function ringOf(use: KeyUse, ...keys: readonly Uint8Array[]): Keyring {
  const ring = new Keyring();
  for (const key of keys) ring.add(key, use, { kind: "given" });
  return ring;
}

function frameOf(bytes: Uint8Array): CapturedFrame {
  const [frame] = build.captured([bytes]);
  assert.ok(frame !== undefined);
  return frame;
}

function protectedFrame(level: number, key = networkKey, payload = build.apsData()): Uint8Array {
  const protection = { key, source: device, counter: 77, level };
  return build.macData(to, build.nwkFrame({ destination: 0, source: 0x970b, protection }, payload));
}

describe("Dissector", () => {
  for (const level of [1, 2, 3, 5, 6, 7]) {
    it(`finds out that a network uses level ${level} and opens its frames (Zigbee §4.3.1.2)`, () => {
      const { nwkProtection, nwkLevel, aps } = new Dissector(ringOf("network", networkKey)).dissect(
        frameOf(protectedFrame(level)),
      );
      assert.deepEqual([nwkProtection, nwkLevel, aps?.cluster], ["opened", level, 6]);
    });
  }

  for (const level of [1, 2, 3, 6, 7]) {
    it(`opens a join at level ${level}, before any frame of its network shows the level`, () => {
      const protection = { key: linkKey, source: centre, counter: 5, level, identifier: 2 };
      const command = build.apsCommand(build.transportKey(1, networkKey, device, centre), protection);
      const bytes = build.macData(to, build.nwkFrame({ destination: 0x970b, source: 0 }, command));
      const dissection = new Dissector(ringOf("link", linkKey)).dissect(frameOf(bytes));
      assert.deepEqual([dissection.apsProtection, dissection.apsCommand?.kind], ["opened", "transport-key"]);
    });
  }

  it("opens level 4 only when told so, because nothing in the frame proves the key", () => {
    const frame = frameOf(protectedFrame(4));
    const ring = ringOf("network", networkKey);
    assert.equal(new Dissector(ring).dissect(frame).nwkProtection, "unopened");
    assert.equal(new Dissector(ring, { level: 4 }).dissect(frame).aps?.cluster, 6);
  });

  it("opens nothing with another key, or when one bit is wrong", () => {
    const bytes = protectedFrame(5);
    assert.equal(new Dissector(ringOf("network", linkKey)).dissect(frameOf(bytes)).nwkProtection, "unopened");
    bytes[bytes.length - 6] = (bytes.at(-6) ?? 0) ^ 1;
    assert.equal(
      new Dissector(ringOf("network", networkKey)).dissect(frameOf(bytes)).nwkProtection,
      "unopened",
    );
  });

  it("opens several networks with several keys at once", () => {
    const dissector = new Dissector(ringOf("network", networkKey, linkKey));
    for (const key of [networkKey, linkKey, networkKey]) {
      assert.equal(dissector.dissect(frameOf(protectedFrame(5, key))).nwkProtection, "opened");
    }
  });

  it("opens the command of IEEE 802.15.4-2006 Annex C.2.3 with the MAC key", () => {
    const frame = frameOf(
      unhex("2bdc842143020000000048deacffff010000000048deac060500000001d84fde529061f9c6f1"),
    );
    const key = unhex("c0c1c2c3c4c5c6c7c8c9cacbcccdcecf");
    const opened = new Dissector(ringOf("mac", key)).dissect(frame);
    assert.equal(opened.macProtection, "opened");
    assert.equal(hex(opened.macPayload.subarray(opened.macPayloadStart, opened.macPayloadEnd)), "01ce");
    assert.equal(new Dissector(new Keyring()).dissect(frame).macProtection, "unopened");
  });

  it("opens the beacon of IEEE 802.15.4-2006 Annex C.2.1 with the MAC key", () => {
    const frame = frameOf(unhex("08d0842143010000000048deac020500000055cf000051525354223bc1ec841ab553"));
    const key = unhex("c0c1c2c3c4c5c6c7c8c9cacbcccdcecf");
    assert.equal(new Dissector(ringOf("mac", key)).dissect(frame).macProtection, "opened");
  });

  it("opens the frames of a network again after thousands that no key opens, once the key has shown itself", () => {
    const dissector = new Dissector(ringOf("network", networkKey));
    const foreign = frameOf(protectedFrame(5, linkKey));
    for (let count = 0; count < 3_000; count++) dissector.dissect(foreign);
    const own = frameOf(protectedFrame(5));
    const opened = Array.from({ length: 40 }, () => dissector.dissect(own).nwkProtection);
    assert.ok(opened.slice(16).every((protection) => protection === "opened"));
  });

  const recognized: readonly [name: string, bytes: string, protocol: string][] = [
    ["RF4CE", "6188da9a26153f65f92f78801c00c041", "rf4ce"],
    ["6LoWPAN", "6188da9a26153f65f97f33f0", "6lowpan"],
    ["Green Power", "0108 01 ffff ffff 8c30 01020304 05000000 22 aabbccdd", "green-power"],
    ["inter-PAN", "01c8adfffffffff4ec2a9d20feff570b000b000b00105ec011da00b3aec5e20292", "inter-pan"],
    ["an acknowledgement", "020042", "mac"],
    ["a frame of a newer MAC", "2928 01", "malformed"],
  ];
  for (const [name, bytes, protocol] of recognized) {
    it(`recognizes ${name}`, () => {
      assert.equal(new Dissector(new Keyring()).dissect(frameOf(unhex(bytes))).protocol, protocol);
    });
  }

  it("keeps what it read of a frame that is cut short, and says why it stopped", () => {
    const whole = protectedFrame(5);
    const { nwk, stopped } = new Dissector(new Keyring()).dissect(frameOf(whole.subarray(0, 20)));
    assert.equal(nwk?.sourceShort, 0x970b);
    assert.match(stopped ?? "", /ends within its auxiliary header/);
  });

  it("never throws and never hangs, whatever the frame", () => {
    const ring = ringOf("network", networkKey);
    ring.add(linkKey, "link", { kind: "given" });
    const dissector = new Dissector(ring);
    const harvester = new Harvester(ring);
    const seeds = [
      protectedFrame(5),
      build.macData(to, build.nwkFrame({ destination: 0, source: 1 }, build.apsData())),
      build.macData(to, build.nwkFrame({ destination: 0, source: 1 }, build.apsCommand(unhex("0e0102")))),
      build.beacon(0x1a62, centre),
      unhex("01c8adfffffffff4ec2a9d20feff570b000b000b00105ec011da00b3aec5e20292"),
      unhex("0108 01 ffff ffff 8c30 01020304 05000000 22 aabbccdd"),
    ];
    const mutated = fc
      .tuple(
        fc.constantFrom(...seeds),
        fc.array(fc.tuple(fc.nat(160), fc.nat(255)), { maxLength: 6 }),
        fc.nat(160),
      )
      .map(([seed, changes, length]) => {
        const bytes = seed.slice(0, length);
        for (const [at, value] of changes) if (at < bytes.length) bytes[at] = value;
        return bytes;
      });
    fc.assert(
      fc.property(fc.oneof(mutated, fc.uint8Array({ maxLength: 200 })), (bytes) => {
        harvester.take(dissector.dissect(frameOf(bytes)));
      }),
      { numRuns: 10_000 },
    );
  });
});

function harvest(ring: Keyring, ...frames: readonly Uint8Array[]): Keyring {
  const dissector = new Dissector(ring);
  const harvester = new Harvester(ring);
  for (const frame of build.captured(frames)) harvester.take(dissector.dissect(frame));
  return ring;
}

function transport(keyType: number, key: Uint8Array, protection?: Parameters<typeof build.apsCommand>[1]) {
  const command = build.apsCommand(build.transportKey(keyType, key, device, centre), protection);
  return build.macData(
    { ...to, destination: 0x970b, source: 0 },
    build.nwkFrame({ destination: 0x970b, source: 0 }, command),
  );
}

function challenge(id: number, value: number): Uint8Array {
  const pair = joined(unhex("0100000000 4b1200"), unhex("0200000000 8d1500"));
  const command = build.apsCommand(joined(Uint8Array.of(id), pair, new Uint8Array(16).fill(value)));
  return build.macData(to, build.nwkFrame({ destination: 0, source: 1 }, command));
}

describe("Harvester", () => {
  it("takes a network key that is sent in clear", () => {
    const key = harvest(new Keyring(), transport(1, networkKey)).find(networkKey, "network");
    assert.deepEqual(key?.origin, { kind: "clear-transport", frame: 1, networkSecured: false });
  });

  it("takes a network key that the key-transport key of a known link key opens (Zigbee §4.5.3)", () => {
    const protection = { key: linkKey, source: centre, counter: 3, identifier: 2 };
    const key = harvest(ringOf("link", linkKey), transport(1, networkKey, protection)).find(
      networkKey,
      "network",
    );
    assert.equal(key?.origin.kind, "transport");
    assert.equal(harvest(new Keyring(), transport(1, networkKey, protection)).size, 0);
  });

  it("takes a link key that the key-load key opens, and passes over the all-zero network key", () => {
    const protection = { key: linkKey, source: centre, counter: 4, identifier: 3 };
    const ring = harvest(
      ringOf("link", linkKey),
      transport(4, networkKey, protection),
      transport(1, new Uint8Array(16)),
    );
    assert.ok(ring.find(networkKey, "link") !== undefined);
    assert.equal(ring.keys("network").length, 0);
  });

  it("takes a key out of a tunnel (Zigbee §4.4.10.8)", () => {
    const inner = build.apsCommand(build.transportKey(1, linkKey, device, centre), {
      key: linkKey,
      source: centre,
      counter: 5,
      identifier: 2,
    });
    const tunnel = build.apsCommand(joined(unhex("0e"), unhex("0200000000 8d1500"), inner));
    const protection = { key: networkKey, source: centre, counter: 6 };
    const frame = build.macData(to, build.nwkFrame({ destination: 5, source: 0, protection }, tunnel));
    const ring = ringOf("network", networkKey);
    ring.add(linkKey, "link", { kind: "given" });
    assert.ok(harvest(ring, frame).find(linkKey, "network") !== undefined);
  });

  it("takes a network key out of a touchlink (ZCL §13.3.4.10)", () => {
    const transaction = { transactionId: 0x2aaa103f, responseId: 0x563b19fa };
    const master = unhex(touchlinkKeys.get(4) ?? "");
    const encrypted = encryptTouchlinkKey(master, transaction, networkKey);
    const response = unhex(
      "21cc33ffff2a9d20feff570b00b76a2c1a11feff570b000b000300105ec01980013f10aa2a0005811000fa193b56adbe51485bbbb3e10019b76affff010001040120020200",
    );
    const header = unhex(
      "21ccb7ffff2c1a11feff570b00f4ec2a9d20feff570b000b000300105ec011e3123f10aa2a adbe51485bbbb3e1 04",
    );
    const key = harvest(new Keyring(), response, joined(header, encrypted)).find(networkKey, "network");
    assert.equal(key?.origin.kind, "touchlink");
  });

  it("establishes the link key of an SKKE whose master key went by in clear (Zigbee §4.4.2)", () => {
    const ring = harvest(new Keyring(), transport(0, networkKey), challenge(1, 1), challenge(2, 2));
    const expected = establishSkke({
      masterKey: networkKey,
      initiator: centre,
      responder: device,
      initiatorChallenge: new Uint8Array(16).fill(1),
      responderChallenge: new Uint8Array(16).fill(2),
    });
    assert.ok(ring.find(expected.linkKey, "link") !== undefined);
  });

  it("takes nothing of a frame whose check sequence is wrong", () => {
    const ring = new Keyring();
    const frame = { ...frameOf(transport(1, networkKey)), frameCheck: "bad" as const };
    new Harvester(ring).take(new Dissector(ring).dissect(frame));
    assert.equal(ring.size, 0);
  });
});
