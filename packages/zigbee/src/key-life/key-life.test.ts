import assert from "node:assert/strict";
import { describe, it } from "node:test";

import { decodeApsCommand, KeyType } from "../aps/aps-command.ts";
import { encodeTransportKey } from "../aps/encode-aps-command.ts";
import { type Eui64, eui64At } from "../eui64.ts";
import { AccessControlList } from "./access-control-list.ts";
import { counterEnd, IncomingCounters, OutgoingCounter } from "./frame-counters.ts";
import { type ArrivedUnder, JoiningDevice, type JoiningPolicy } from "./joining-device.ts";
import { NetworkKeys } from "./network-keys.ts";
import { TrustCentre, type TrustCentreAction, type TrustCentrePolicy } from "./trust-centre.ts";

const address = (index: number): Eui64 => eui64At(Uint8Array.of(index, 0, 0, 0, 0, 0, 0, 2), 0);
const [centreAddress, lamp, lock] = [address(1), address(2), address(3)];
const bytes = (fill: number): Uint8Array => new Uint8Array(16).fill(fill);

function counting(): (count: number) => Uint8Array {
  let next = 0x40;
  return (count) => new Uint8Array(count).fill(next++);
}

const policy: TrustCentrePolicy = {
  model: "centralized",
  mode: "commercial",
  preconfigured: {
    kind: "unique",
    keys: new Map([
      [lamp, bytes(1)],
      [lock, bytes(2)],
    ]),
  },
  masterKeys: new Map(),
  allowed: undefined,
  unsecuredRejoin: "own-key",
  oneJoinForEachKey: true,
  issuesLinkKeys: true,
  authenticationUs: 10_000_000,
  devicesMax: 4,
};

function centre(changes: Partial<TrustCentrePolicy> = {}): TrustCentre {
  return new TrustCentre(centreAddress, { ...policy, ...changes }, counting());
}

type KeyAction = Extract<TrustCentreAction, { kind: "transport-key" }>;

function keyIn(actions: readonly TrustCentreAction[]): KeyAction {
  const [action] = actions;
  assert.ok(action?.kind === "transport-key", `${action?.kind}`);
  return action;
}

function refusalIn(actions: readonly TrustCentreAction[]): string | undefined {
  const [action] = actions;
  return action?.kind === "remove-device" ? action.reason : undefined;
}

function device(changes: Partial<JoiningPolicy> = {}): JoiningDevice {
  return new JoiningDevice({
    linkKey: bytes(1),
    masterKey: undefined,
    acceptsClearKey: false,
    requestsLinkKey: true,
    authenticationUs: 10_000_000,
    ...changes,
  });
}

/** Hands what the trust centre sends to a device. */
function hand(to: JoiningDevice, action: KeyAction, under: ArrivedUnder): string[] {
  const command = decodeApsCommand(
    encodeTransportKey({ ...action, destination: action.device, source: centreAddress }),
  );
  assert.ok(command.kind === "transport-key");
  return to.transportKey(command, under).map(({ kind }) => kind);
}

/** What the device answers, taken from a twin, since `transportKey` gives it once. */
function joiningHash(twinOf: JoiningDevice, issued: KeyAction): Uint8Array {
  const twin = device(twinOf.policy);
  twin.associated(0);
  hand(twin, keyIn(centre().deviceJoined(lamp, "association", 0)), "preconfigured-key");
  const command = decodeApsCommand(
    encodeTransportKey({ ...issued, destination: lamp, source: centreAddress }),
  );
  assert.ok(command.kind === "transport-key");
  const [action] = twin.transportKey(command, "link-key");
  assert.ok(action?.kind === "verify-key");
  return action.hash;
}

/** What the lamp gets when it joins. */
function network(): KeyAction {
  return keyIn(centre().deviceJoined(lamp, "association", 0));
}

describe("a trust centre (thesis 6.3, 6.5)", () => {
  it("brings a device from its pre-configured key to a verified key of its own", () => {
    const tc = centre();
    const joining = device();
    joining.associated(0);
    const network = keyIn(tc.deviceJoined(lamp, "association", 0));
    assert.deepEqual(network.protection, { kind: "key-transport", linkKey: bytes(1) });
    assert.equal(network.keyType, KeyType.highSecurityNetworkKey);
    assert.deepEqual(hand(joining, network, "preconfigured-key"), ["announce", "request-link-key"]);
    tc.frameProved(lamp);
    assert.equal(tc.device(lamp)?.stage, "authenticated");
    const issued = keyIn(tc.linkKeyRequested(lamp));
    assert.deepEqual(issued.protection, { kind: "key-load", linkKey: bytes(1) });
    assert.deepEqual(hand(joining, issued, "link-key"), ["verify-key"]);
    const candidate = joining.candidateKey;
    assert.ok(candidate !== undefined);
    const wrong = tc.keyVerified(lamp, bytes(9));
    assert.deepEqual([wrong, tc.device(lamp)?.stage], [[], "issued"]);
    const [confirm] = tc.keyVerified(lamp, joiningHash(joining, issued));
    assert.equal(confirm?.kind, "confirm-key");
    joining.keyConfirmed(0);
    assert.equal(joining.stage, "established");
    assert.deepEqual(joining.linkKey, tc.device(lamp)?.linkKey);
  });

  it("sends the network key in clear in residential mode only", () => {
    const none = { preconfigured: { kind: "none" } } as const;
    const open = keyIn(centre({ ...none, mode: "residential" }).deviceJoined(lamp, "association", 0));
    assert.deepEqual([open.protection.kind, open.keyType], ["clear", KeyType.standardNetworkKey]);
    assert.equal(refusalIn(centre(none).deviceJoined(lamp, "association", 0)), "no-link-key");
  });

  it("establishes a link key first where there is a master key, and sends the network key then", () => {
    const tc = centre({ preconfigured: { kind: "none" }, masterKeys: new Map([[lamp, bytes(7)]]) });
    const [begin] = tc.deviceJoined(lamp, "association", 0);
    assert.equal(begin?.kind, "establish-key");
    assert.deepEqual(tc.linkKeyRequested(lamp), []);
    const { protection } = keyIn(tc.keyEstablished(lamp, bytes(8)));
    assert.deepEqual(protection, { kind: "key-transport", linkKey: bytes(8) });
    assert.deepEqual(tc.keyEstablished(lamp, bytes(9)), []);
  });

  it("removes a device that does not authenticate in time, and keeps one that does", () => {
    const tc = centre();
    tc.deviceJoined(lamp, "association", 0);
    tc.deviceJoined(lock, "association", 0);
    tc.frameProved(lock);
    assert.deepEqual(tc.expire(9_999_999), []);
    assert.deepEqual(refusalIn(tc.expire(10_000_000)), "time-limit");
    assert.deepEqual(
      tc.devices.map((known) => known.address),
      [lock],
    );
  });

  it("keeps out who is not in its list, who comes when it is full, and a key that was used before", () => {
    const listed = centre({ allowed: new Set([lock]) });
    assert.equal(refusalIn(listed.deviceJoined(lamp, "association", 0)), "not-allowed");
    assert.equal(keyIn(listed.deviceJoined(lock, "association", 0)).device, lock);
    const full = centre({ devicesMax: 1 });
    full.deviceJoined(lamp, "association", 0);
    assert.equal(refusalIn(full.deviceJoined(lock, "association", 0)), "table-full");
    const once = centre();
    once.deviceJoined(lamp, "association", 0);
    once.frameProved(lamp);
    assert.equal(refusalIn(once.deviceJoined(lamp, "association", 1)), "link-key-used");
    const often = centre({ oneJoinForEachKey: false });
    often.deviceJoined(lamp, "association", 0);
    often.frameProved(lamp);
    assert.equal(keyIn(often.deviceJoined(lamp, "association", 1)).device, lamp);
  });

  it("gives the network key to an unsecured rejoin under a key of the device's own only", () => {
    const wellKnown = { preconfigured: { kind: "global", key: bytes(5) } } as const;
    const strict = centre(wellKnown);
    strict.deviceJoined(lamp, "association", 0);
    assert.equal(refusalIn(strict.deviceJoined(lamp, "unsecured-rejoin", 1)), "rejoin-refused");
    const lax = centre({ ...wellKnown, unsecuredRejoin: "any-key" });
    lax.deviceJoined(lamp, "association", 0);
    assert.equal(keyIn(lax.deviceJoined(lamp, "unsecured-rejoin", 1)).device, lamp);
    assert.equal(refusalIn(lax.deviceJoined(lock, "unsecured-rejoin", 1)), "rejoin-refused");
    const own = centre();
    own.deviceJoined(lamp, "association", 0);
    assert.equal(keyIn(own.deviceJoined(lamp, "unsecured-rejoin", 1)).device, lamp);
    assert.deepEqual(own.deviceJoined(lamp, "secured-rejoin", 2), []);
  });

  it("replaces the network key under link keys, without those that are left out", () => {
    const tc = centre();
    for (const known of [lamp, lock]) tc.deviceJoined(known, "association", 0);
    assert.deepEqual(tc.switchKey(), []);
    const sent = tc.updateNetworkKey(new Set([lock]));
    assert.deepEqual(
      sent.map((action) => action.kind === "transport-key" && action.device),
      [lamp],
    );
    assert.equal(keyIn(sent).sequence, 1);
    assert.deepEqual(tc.switchKey(), [{ kind: "switch-key", sequence: 1 }]);
    assert.equal(tc.networkKeys.active?.sequence, 0);
    assert.ok(tc.networkKeys.switchTo(1));
  });

  it("gives a pair an application key, each under its own link key", () => {
    const tc = centre();
    for (const known of [lamp, lock]) tc.deviceJoined(known, "association", 0);
    const sent = tc.applicationKeyRequested(lamp, lock).map((action) => keyIn([action]));
    assert.deepEqual(
      sent.map(({ device: to }) => to),
      [lamp, lock],
    );
    assert.deepEqual(sent[0]?.key, sent[1]?.key);
    assert.deepEqual(tc.applicationKeyRequested(lamp, address(9)), []);
  });

  it("names nobody as trust centre in a distributed network, whose routers hand out the key they have", () => {
    const keys = new NetworkKeys();
    keys.store(bytes(6), 3);
    const router = new TrustCentre(lamp, { ...policy, model: "distributed" }, counting(), keys);
    assert.equal(router.address, "ff:ff:ff:ff:ff:ff:ff:ff");
    assert.deepEqual(keyIn(router.deviceJoined(lock, "association", 0)).key, bytes(6));
  });
});

describe("a joining device (thesis 6.5)", () => {
  it("refuses a network key in clear unless it is told to take it", () => {
    const strict = device();
    strict.associated(0);
    assert.deepEqual(hand(strict, network(), "clear"), ["leave"]);
    const lax = device({ acceptsClearKey: true, linkKey: undefined });
    lax.associated(0);
    assert.deepEqual(hand(lax, network(), "clear"), ["announce"]);
  });

  it("takes no key that it does not wait for, and no link key that others could read", () => {
    const outside = device();
    assert.deepEqual(hand(outside, network(), "preconfigured-key"), []);
    outside.associated(0);
    hand(outside, network(), "preconfigured-key");
    const issued = { ...network(), keyType: KeyType.trustCenterLinkKey };
    assert.deepEqual(hand(outside, issued, "network-key"), []);
    assert.deepEqual(hand(outside, { ...network(), key: bytes(0x77), sequence: 1 }, "clear"), []);
    assert.equal(outside.networkKeys.find(1), undefined);
  });

  it("gives up when the key does not come in time", () => {
    const late = device();
    late.associated(5);
    assert.deepEqual(late.expire(10_000_004), []);
    assert.deepEqual(late.expire(10_000_005), [{ kind: "leave", reason: "time-limit" }]);
    assert.equal(late.stage, "outside");
  });

  it("holds the next network key until the switch", () => {
    const member = device();
    member.associated(0);
    hand(member, network(), "preconfigured-key");
    hand(member, { ...network(), key: bytes(0x77), sequence: 1 }, "link-key");
    assert.equal(member.networkKeys.active?.sequence, 0);
    assert.deepEqual(member.switchKey(2), []);
    assert.deepEqual(member.switchKey(1), [{ kind: "key-switched" }]);
    assert.deepEqual(member.networkKeys.active?.bytes, bytes(0x77));
    assert.ok(member.networkKeys.find(0) !== undefined);
  });
});

describe("frame counters (thesis 6.5, Zigbee 4.3.1)", () => {
  it("are never used twice, over a restart either, and end", () => {
    const counter = new OutgoingCounter();
    const used = [counter.take(), counter.take()];
    const again = new OutgoingCounter(counter.persisted);
    assert.deepEqual(used, [0, 1]);
    assert.ok((again.take() ?? 0) > 1);
    const last = new OutgoingCounter(counterEnd - 1);
    assert.deepEqual([last.take(), last.take()], [counterEnd - 1, undefined]);
    last.reset();
    assert.equal(last.take(), 0);
  });

  it("are refused when stale, at the end, or too far ahead; and taken otherwise", () => {
    const counters = new IncomingCounters({ sendersMax: 2, jumpMax: 1_000, checked: true });
    assert.equal(counters.refusal(lamp, 7), undefined);
    counters.accept(lamp, 7);
    assert.equal(counters.refusal(lamp, 7), "stale");
    assert.equal(counters.refusal(lamp, 8), undefined);
    assert.equal(counters.refusal(lamp, 2_000), "jump");
    assert.equal(counters.refusal(lamp, counterEnd), "end");
    counters.accept(lock, 1);
    assert.equal(counters.refusal(address(9), 1), "table-full");
    counters.forget(lamp);
    assert.equal(counters.refusal(lamp, 0), undefined);
  });

  it("pass unseen where a stack does not check them", () => {
    const counters = new IncomingCounters({ sendersMax: 2, jumpMax: 1, checked: false });
    counters.accept(lamp, 500);
    assert.equal(counters.refusal(lamp, 3), undefined);
  });
});

describe("the access control list (thesis 6.4.1)", () => {
  it("lets through peers it trusts at their level with a new counter, and nobody else", () => {
    const list = new AccessControlList(1);
    assert.ok(list.set({ address: lamp, level: 5, key: bytes(1), frameCounter: 10 }));
    assert.ok(!list.set({ address: lock, level: 5, key: bytes(1), frameCounter: 0 }));
    assert.equal(list.judge(lamp, 5, 10).kind, "trusted");
    assert.deepEqual(list.judge(lock, 5, 10), { kind: "refused", reason: "unknown" });
    assert.deepEqual(list.judge(lamp, 4, 10), { kind: "refused", reason: "level" });
    list.accept(lamp, 10);
    assert.deepEqual(list.judge(lamp, 5, 10), { kind: "refused", reason: "stale" });
    assert.throws(() => list.set({ address: lamp, level: 8, key: bytes(1), frameCounter: 0 }), RangeError);
    assert.ok(list.delete(lamp));
    assert.equal(list.size, 0);
  });
});
