import assert from "node:assert/strict";
import { describe, it } from "node:test";

import { type CapturedFrame } from "@postern/zigbee/capture/captured-frame";
import { type Eui64, eui64Bytes, parseEui64 } from "@postern/zigbee/eui64";
import { Keyring } from "@postern/zigbee/keyring";
import { knownKeys } from "@postern/zigbee/known-keys";
import { joined } from "@postern/zigbee/security/mmo-hash";
import * as build from "@postern/zigbee/testing";

import { auditZigbee, type AuditReport } from "./audit.ts";
import { auditText } from "./report-text.ts";
import { zigbeeRules } from "./rules.ts";

const { unhex } = build;

function address(text: string): Eui64 {
  const parsed = parseEui64(text);
  assert.ok(parsed !== undefined);
  return parsed;
}

const pan = 0x1a62;
const centre = address("00:12:4b:00:00:00:00:01");
const device = address("00:15:8d:00:00:00:00:02");
const other = address("00:15:8d:00:00:00:00:03");
const networkKey = unhex("5f1e2d3c4b5a69788796a5b4c3d2e1f0");
const linkKey = unhex("9a8b7c6d5e4f30211203948576675849");
const wellKnown = new TextEncoder().encode("ZigBeeAlliance09");

async function audit(
  frames: readonly CapturedFrame[],
  options: {
    readonly networkKey?: Uint8Array | undefined;
    readonly linkKey?: Uint8Array;
    readonly level?: number;
  } = {},
): Promise<AuditReport> {
  const keyring = new Keyring();
  const given = "networkKey" in options ? options.networkKey : networkKey;
  if (given !== undefined) keyring.add(given, "network", { kind: "given" });
  if (options.linkKey !== undefined) keyring.add(options.linkKey, "link", { kind: "given" });
  for (const { hex, uses, name } of knownKeys) {
    for (const use of uses) keyring.add(unhex(hex), use, { kind: "well-known", name });
  }
  const read = (onFrame: (frame: CapturedFrame) => void) => {
    for (const frame of frames) onFrame(frame);
    return Promise.resolve();
  };
  return auditZigbee({
    keyring,
    showKeys: false,
    read,
    ...(options.level === undefined ? {} : { level: options.level }),
  });
}

/** `rule: frames` of every finding. */
async function found(...args: Parameters<typeof audit>): Promise<string[]> {
  const { findings } = await audit(...args);
  return findings.map(({ id, frames }) => `${id}: ${frames.join(" ")}`);
}

interface DataOptions {
  readonly counter: number;
  readonly macSequence?: number;
  readonly key?: Uint8Array;
  readonly level?: number;
  readonly destination?: number;
  readonly sequence?: number;
  readonly payload?: Uint8Array;
}

/** A protected application frame of the device to the trust centre. */
function data(options: DataOptions): Uint8Array {
  const {
    counter,
    macSequence = counter,
    key = networkKey,
    level = 5,
    destination = 0,
    sequence = 1,
  } = options;
  const protection = { key, source: device, counter, level };
  const nwk = { destination, source: 0x970b, sequence, protection };
  return build.macData(
    { pan, destination, source: 0x970b, macSequence },
    build.nwkFrame(nwk, options.payload ?? build.apsData()),
  );
}

function run(from: number, count: number): Uint8Array[] {
  return Array.from({ length: count }, (_, index) => data({ counter: from + index }));
}

/** A Transport Key from the trust centre. */
function transport(
  keyType: number,
  key: Uint8Array,
  how: { readonly to?: Eui64; readonly under?: Uint8Array; readonly networkSecured?: boolean } = {},
): Uint8Array {
  const protection =
    how.under === undefined
      ? undefined
      : { key: how.under, source: centre, counter: 9, identifier: keyType === 1 ? 2 : 3 };
  const command = build.apsCommand(build.transportKey(keyType, key, how.to ?? device, centre), protection);
  const outer =
    how.networkSecured === true ? { protection: { key: networkKey, source: centre, counter: 5 } } : {};
  const nwk = build.nwkFrame({ destination: 0x970b, source: 0, ...outer }, command);
  return build.macData({ pan, destination: 0x970b, source: 0, macSequence: 1 }, nwk);
}

const request = (source: Eui64) => build.macCommand(pan, source, unhex("0180"));

function stranger(index: number): Eui64 {
  return address(`aa000000000000${index.toString(16).padStart(2, "0")}`);
}

/** Frames that the network key does not open. */
function forged(count: number): Uint8Array[] {
  return Array.from({ length: count }, (_, index) =>
    data({ counter: 500 + index, key: linkKey, destination: 0x1234 }),
  );
}

/** Opens joining. */
function opening(counter: number, seconds = 60): Uint8Array {
  return data({
    counter,
    destination: 0xfffc,
    sequence: counter & 0xff,
    payload: build.apsData({ cluster: 0x36, profile: 0, endpoint: 0 }, Uint8Array.of(1, seconds, 1)),
  });
}

function storm(count: number): Uint8Array[] {
  return Array.from({ length: count }, (_, index) =>
    data({ counter: 100 + index, destination: 0xffff, sequence: index }),
  );
}

function damagedFrame(frame: CapturedFrame): CapturedFrame {
  return { ...frame, frameCheck: "bad" };
}

async function devicesOf(
  frames: readonly Uint8Array[],
): Promise<AuditReport["networks"][number]["devices"] | undefined> {
  const [network] = (await audit(build.captured(frames))).networks;
  return network?.devices;
}

describe("the Zigbee audit", () => {
  const normal = build.captured(run(100, 30));

  it("finds nothing in an ordinary protected network", async () => {
    const report = await audit(normal);
    assert.deepEqual([report.findings, report.openedFrames, report.frames], [[], 30, 30]);
  });

  it("finds a key sent in clear, and opens what came before it", async () => {
    const report = await audit(build.captured([...run(100, 5), transport(1, networkKey)]), {
      networkKey: undefined,
    });
    assert.deepEqual(
      report.findings.map(({ id, frames }) => [id, frames]),
      [["ZB-KEY-CLEAR", [6]]],
    );
    assert.deepEqual([report.openedFrames, report.securedFrames], [5, 5]);
  });

  it("opens and searches a network that was formed anew with another key", async () => {
    const second = unhex("c3d2e1f05f1e2d3c4b5a69788796a5b4");
    const issued = build.apsCommand(build.transportKey(4, linkKey, device, centre));
    const protection = { key: second, source: centre, counter: 900 };
    const frame = build.macData(
      { pan, destination: 0x970b, source: 0, macSequence: 1 },
      build.nwkFrame({ destination: 0x970b, source: 0, protection }, issued),
    );
    const frames = [...run(100, 3), ...[1, 2, 3].map((counter) => data({ counter, key: second })), frame];
    const report = await audit(build.captured([transport(1, networkKey), transport(1, second), ...frames]), {
      networkKey: undefined,
    });
    assert.deepEqual([report.openedFrames, report.securedFrames], [7, 7]);
    assert.deepEqual(
      report.findings.map(({ id, frames }) => `${id}: ${frames.join(" ")}`),
      ["ZB-KEY-CLEAR: 1 2", "ZB-LINK-KEY-UNDER-NETWORK-KEY: 9"],
    );
    assert.equal(report.keys.length, 3);
  });

  it("masks the key in evidence and report", async () => {
    const report = await audit(build.captured([transport(1, networkKey)]), { networkKey: undefined });
    assert.ok(
      !`${JSON.stringify(report.findings)} ${auditText(report, "x")}`.includes(build.hex(networkKey)),
    );
    assert.match(report.findings[0]?.evidence[0]?.bytes ?? "", /\*{32}/);
  });

  it("does not take the all-zero network key for a key (Zigbee §4.6.3.2.2.1)", async () => {
    assert.deepEqual(await found(build.captured([transport(1, new Uint8Array(16)), ...run(1, 3)])), []);
  });

  it("tells a key under a well-known link key from one under a secret link key", async () => {
    const known = build.captured([transport(1, networkKey, { under: wellKnown })]);
    assert.deepEqual(await found(known, { networkKey: undefined }), ["ZB-KEY-KNOWN-LINK: 1"]);
    const secret = build.captured([transport(1, networkKey, { under: linkKey })]);
    assert.deepEqual(await found(secret, { linkKey }), []);
  });

  it("finds one link key for two devices, and not for one", async () => {
    const once = transport(1, networkKey, { under: linkKey });
    const twice = transport(1, networkKey, { under: linkKey, to: other });
    assert.deepEqual(await found(build.captured([once, twice]), { linkKey }), ["ZB-LINK-KEY-SHARED: 2"]);
    assert.deepEqual(await found(build.captured([once, once]), { linkKey }), []);
  });

  it("judges the trust centre link keys that are issued", async () => {
    const issued = (key: Uint8Array, to: Eui64) =>
      transport(4, key, { under: linkKey, to, networkSecured: true });
    const fresh = unhex("00aa11bb22cc33dd44ee55ff66778899");
    assert.deepEqual(await found(build.captured([issued(fresh, device)]), { linkKey }), []);
    assert.ok(
      (await found(build.captured([issued(fresh, device), issued(fresh, other)]), { linkKey })).includes(
        "ZB-TCLK-SHARED: 2",
      ),
    );
    assert.ok(
      (await found(build.captured([issued(wellKnown, device)]), { linkKey })).includes(
        "ZB-TCLK-WELL-KNOWN: 1",
      ),
    );
  });

  it("finds a link key under the network key alone", async () => {
    const frames = build.captured([transport(4, linkKey, { networkSecured: true })]);
    assert.deepEqual(await found(frames), ["ZB-LINK-KEY-UNDER-NETWORK-KEY: 1"]);
  });

  it("finds network keys that are known, printable, uniform or counted", async () => {
    const cases: readonly [key: Uint8Array, rule: string][] = [
      [unhex("01030507090b0d0f00020406080a0c0d"), "ZB-NWK-KEY-KNOWN: 1"],
      [new TextEncoder().encode("my-secret-key-00"), "ZB-NWK-KEY-WEAK: 1"],
      [new Uint8Array(16).fill(0x81), "ZB-NWK-KEY-WEAK: 1"],
      [unhex("808182838485868788898a8b8c8d8e8f"), "ZB-NWK-KEY-WEAK: 1"],
    ];
    for (const [key, rule] of cases) {
      const frames = build.captured([data({ counter: 1, key })]);
      const given = rule.startsWith("ZB-NWK-KEY-KNOWN") ? undefined : key;
      assert.deepEqual(await found(frames, { networkKey: given }), [rule]);
    }
  });

  it("tells a replay from a retransmission by the MAC", async () => {
    const frame = data({ counter: 200, macSequence: 1 });
    const another = data({ counter: 200, macSequence: 2 });
    const ordinary = run(100, 5);
    assert.deepEqual(await found(build.captured([...ordinary, frame, frame], 5_000)), []);
    assert.deepEqual(await found(build.captured([...ordinary, frame, another], 5_000)), ["ZB-REPLAY: 7"]);
    assert.deepEqual(await found(build.captured([...ordinary, frame, frame], 1_500_000)), ["ZB-REPLAY: 7"]);
    assert.deepEqual(await found(build.captured([...ordinary, frame, frame], 1_000)), ["ZB-REPLAY: 7"]);
    // Recorded twice by the sniffer; and without times nothing is known of gaps.
    const twice = build.captured(
      [...ordinary, ...ordinary.map((_, index) => data({ counter: 110 + index })), frame, frame],
      5_000,
    );
    const last = twice.at(-1);
    assert.ok(last !== undefined);
    twice[twice.length - 1] = { ...last, timeUs: last.timeUs - 4_950 };
    assert.deepEqual(await found(twice), []);
    assert.deepEqual(await found(build.captured([...ordinary, frame, frame], 0)), []);
  });

  it("knows a frame again after thousands of others", async () => {
    const frames = [...run(100, 5_000), data({ counter: 105, macSequence: 7 })];
    assert.deepEqual(await found(build.captured(frames)), ["ZB-REPLAY: 5001"]);
  });

  it("tells a counter that began anew from single frames that go back", async () => {
    const anew = build.captured([...run(29_460, 4), ...run(0, 6)]);
    assert.deepEqual(await found(anew), ["ZB-COUNTER-RESTART: 5"]);
    const back = build.captured([...run(1_000, 4), data({ counter: 7 }), ...run(1_004, 4)]);
    assert.deepEqual(await found(back), ["ZB-COUNTER-REGRESSION: 5"]);
    // Frames that waited for a sleeping device at their parent.
    const late = build.captured([
      data({ counter: 1_000 }),
      data({ counter: 1_002 }),
      data({ counter: 1_001 }),
    ]);
    assert.deepEqual(await found(late), []);
  });

  it("finds equal nonces for different frames", async () => {
    const second = data({ counter: 100, payload: build.apsData({}, unhex("010601")) });
    assert.ok((await found(build.captured([...run(100, 2), second]))).includes("ZB-NONCE-REUSE: 3"));
  });

  it("finds a counter at its end, and leaves large counters that were reached slowly", async () => {
    assert.ok(
      (await found(build.captured([...run(100, 2), data({ counter: 0xffff_ffff })]))).includes(
        "ZB-COUNTER-MAX: 3",
      ),
    );
    assert.ok(
      (await found(build.captured([...run(100, 2), data({ counter: 0x8000_1000 })]))).includes(
        "ZB-COUNTER-MAX: 3",
      ),
    );
    assert.deepEqual(await found(build.captured(run(0xf000_0000, 5))), []);
  });

  it("finds application frames without protection in a protected network only", async () => {
    const plain = build.macData(
      { pan, destination: 0, source: 0x970b, macSequence: 9 },
      build.nwkFrame({ destination: 0, source: 0x970b }, build.apsData()),
    );
    assert.deepEqual(await found(build.captured([plain, ...run(1, 3)])), ["ZB-UNSECURED-DATA: 1"]);
    assert.deepEqual(await found(build.captured([plain, plain])), []);
    assert.deepEqual(await found(build.captured(Array.from({ length: 6 }, () => plain))), [
      "ZB-SECURITY-OFF: 5 6",
    ]);
  });

  it("finds levels that leave out encryption or integrity", async () => {
    assert.deepEqual(await found(build.captured([data({ counter: 1, level: 2 })])), ["ZB-LEVEL-LOW: 1"]);
    assert.deepEqual(await found(build.captured([data({ counter: 1, level: 4 })]), { level: 4 }), [
      "ZB-LEVEL-LOW: 1",
    ]);
    assert.deepEqual(await found(build.captured([data({ counter: 1, level: 7 })])), []);
  });

  it("finds frames that the network key does not open, and a device kept busy with them", async () => {
    assert.deepEqual(await found(build.captured([...run(1, 3), ...forged(2)])), []);
    assert.deepEqual(await found(build.captured([...run(1, 3), ...forged(4)])), ["ZB-MIC-FAILED: 6 7"]);
    const ids = (await audit(build.captured([...run(1, 3), ...forged(25)]))).findings.map(({ id }) => id);
    assert.deepEqual(ids, ["ZB-GHOST", "ZB-MIC-FAILED"]);
  });

  it("finds a flood of association requests, and neither a few devices nor a capture without times", async () => {
    const flood = Array.from({ length: 12 }, (_, index) => request(stranger(index)));
    const [finding] = await found(build.captured([...run(1, 2), ...flood]));
    assert.equal(finding, "ZB-ASSOCIATION-FLOOD: 3 4 5 6 7 8 9 10 11 12 13 14");
    assert.deepEqual(await found(build.captured([...run(1, 2), ...flood.slice(0, 9)])), []);
    assert.deepEqual(await found(build.captured([...run(1, 2), ...flood], 0)), []);
    assert.deepEqual(await found(build.captured([...run(1, 2), ...flood], 2_000_000)), []);
  });

  it("leaves MAC commands of networks that are not Zigbee alone", async () => {
    const flood = Array.from({ length: 12 }, (_, index) => request(stranger(index)));
    assert.deepEqual(
      await found(build.captured([...flood, build.macCommand(pan, device, unhex("0302"))])),
      [],
    );
  });

  it("finds disassociation, unrequested realignment and two identities under one PAN id", async () => {
    const leave = build.macCommand(pan, device, unhex("0302"));
    const realign = build.macCommand(pan, device, unhex("08 621a 0000 0b 0b97"));
    const frames = build.captured([...run(1, 2), leave, realign, build.beacon(pan, centre)]);
    assert.deepEqual(await found(frames), ["ZB-DISASSOCIATION: 3", "ZB-REALIGNMENT: 4"]);
    const twins = build.captured([...run(1, 2), build.beacon(pan, centre), build.beacon(pan, other)]);
    assert.deepEqual(await found(twins), ["ZB-TRAP-NETWORK: 4"]);
  });

  it("finds joining that is kept open, and not one opening", async () => {
    const step = 5_000_000;
    assert.deepEqual(await found(build.captured([opening(1), opening(2)], step)), []);
    assert.deepEqual(await found(build.captured([opening(1), opening(2), opening(3)], step)), [
      "ZB-PERMIT-JOIN: 1 2 3",
    ]);
    assert.deepEqual(await found(build.captured([opening(1, 255)], step)), ["ZB-PERMIT-JOIN: 1"]);
    assert.deepEqual(await found(build.captured([opening(1, 0), opening(2, 0), opening(3, 0)], step)), []);
  });

  it("finds rejoins without protection", async () => {
    const rejoin = build.nwkFrame({ destination: 0, source: 0x970b, command: true }, unhex("0680"));
    const frame = build.macData({ pan, destination: 0, source: 0x970b, macSequence: 3 }, rejoin);
    assert.deepEqual(await found(build.captured([...run(1, 2), frame])), ["ZB-REJOIN-UNSECURED: 3"]);
  });

  it("finds a storm of broadcasts", async () => {
    assert.deepEqual(
      (await audit(build.captured(storm(70)))).findings.map(({ id }) => id),
      ["ZB-BROADCAST-STORM"],
    );
    assert.deepEqual(await found(build.captured(storm(70), 1_000_000)), []);
  });

  it("finds a stretch of damaged frames against what is usual, and no damage that is usual", async () => {
    const frames = build.captured(run(1, 800), 100_000);
    const damaged = (isBad: (index: number) => boolean) =>
      frames.map((frame, index) => (isBad(index) ? damagedFrame(frame) : frame));
    assert.deepEqual(
      await found(
        damaged((index) => index % 13 === 0),
        { networkKey: linkKey },
      ),
      [],
    );
    const jammed = damaged((index) => index >= 310 && index < 395);
    const ids = (await audit(jammed, { networkKey: linkKey })).findings.map(({ id }) => id);
    assert.deepEqual(ids, ["ZB-JAMMING"]);
    assert.deepEqual(await found(damaged(() => true)), []);
  });

  it("finds touchlink commands that take devices over", async () => {
    const reset = unhex("21ccb6ffff2c1a11feff570b00f4ec2a9d20feff570b000b000300105ec0112f073f10aa2a");
    const scan = unhex("01c8adfffffffff4ec2a9d20feff570b000b000b00105ec011da00b3aec5e20292");
    assert.deepEqual(
      (await audit(build.captured([reset]))).findings.map(({ id }) => id),
      ["ZB-TOUCHLINK-COMMAND"],
    );
    assert.deepEqual(await found(build.captured([scan])), []);
  });

  it("puts down who is parent of whom, by association and by polling, and who holds the key", async () => {
    const response = joined(
      unhex("63cc 01 621a"),
      eui64Bytes(device),
      eui64Bytes(centre),
      unhex("02 0b97 00"),
    );
    const poll = unhex("6388 02 621a 0200 0b97 04");
    const router = build.macData(
      { pan, destination: 0, source: 2, macSequence: 1 },
      build.nwkFrame(
        { destination: 0, source: 2, protection: { key: networkKey, source: other, counter: 1 } },
        build.apsData(),
      ),
    );
    const joinedDevices = await devicesOf([...run(1, 2), response]);
    assert.deepEqual(
      [joinedDevices?.get(device)?.parent, joinedDevices?.get(device)?.holdsKey],
      [centre, true],
    );
    assert.equal((await devicesOf([...run(1, 2), response, router, poll]))?.get(device)?.parent, other);
  });

  it("gives every rule a title, a section, a requirement and a mend", () => {
    for (const [id, rule] of Object.entries(zigbeeRules)) {
      assert.match(id, /^ZB-[A-Z-]+$/);
      assert.match(rule.thesis, /^6\.\d \S/);
      assert.ok(rule.isvs.every((name) => /^V4\.\d\.\d$/.test(name)) && rule.isvs.length > 0);
      assert.ok(rule.title.length > 15 && rule.mend.length > 20);
    }
  });
});
