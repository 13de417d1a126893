import assert from "node:assert/strict";
import { describe, it } from "node:test";

import { open } from "@postern/seal/envelope/open";
import { seal, type Protection } from "@postern/seal/envelope/seal";
import { structureOf } from "@postern/seal/envelope/structure";
import { GroupKey } from "@postern/seal/keys/group-key";
import { decryptionKey, recipientKey } from "@postern/seal/keys/recipient";
import { signingKey, verifyingKey } from "@postern/seal/keys/signature";
import { ReplayGuard } from "@postern/seal/replay/replay-guard";
import { testBinding, testKey, testNowMs, testParty, testPosition } from "@postern/seal/testing";

import { parsePolicy } from "../permissions/policy.ts";
import type { PayloadDemand } from "./demand.ts";
import type { MacKeys, SealingKeys } from "./group-keys-file.ts";
import { PayloadChecker, type CheckedSource } from "./payload-checker.ts";
import { Resealer } from "./resealer.ts";

const { tenant, topic, sender, epoch } = testBinding;
const device = testKey("Ed25519");
const group = GroupKey.of(Buffer.alloc(32, 7), epoch);
const brokerKey = testKey("X25519");
const signed: Protection = { mode: "signed", signing: signingKey(device.privateKey) };
const mac: Protection = { mode: "mac", group };

interface Keys {
  readonly macKeys?: MacKeys;
  readonly groupKeys?: SealingKeys;
}

function withKeys(demand: PayloadDemand, keys: Keys): PayloadDemand {
  return { ...demand, ...keys };
}

function checker(payloads: string, keys: Keys = {}): PayloadChecker {
  const parsed = parsePolicy(`payloads: ${payloads}\nroles: { r: {} }\n`);
  assert.ok(parsed.kind === "policy", JSON.stringify(parsed));
  const made = new PayloadChecker({
    signers: { of: (name) => (name === sender ? [verifyingKey(device.publicKey)] : []) },
    decryption: decryptionKey(brokerKey.privateKey),
    resealer: new Resealer(testNowMs),
    tenantOf: () => tenant,
    isKnown: (name) => name !== "gone",
  });
  made.use(parsed.policy.payloads.map((demand) => withKeys(demand, keys)));
  return made;
}

const source: CheckedSource = { topic, publisher: sender, repeated: false, nowMs: testNowMs };

/** What becomes of a payload: `accepted`, `repeated`, or the reason code and the word for what is wrong. */
function fate(rules: PayloadChecker, payload: Uint8Array, from: Partial<CheckedSource> = {}): string {
  const rule = rules.ruleOn(from.topic ?? topic);
  if (rule === undefined) return "no rule";
  const verdict = rule.check(payload, { ...source, ...from });
  if (verdict.kind !== "refused") return verdict.kind;
  return `${verdict.reasonCode.toString(16)} ${verdict.reason.split(":")[0] ?? ""}`;
}

let lastSequence = 0;
function sealed(protection: Protection, binding = testBinding, sealedAtMs?: number): Buffer {
  lastSequence += 1;
  const options = sealedAtMs === undefined ? {} : { sealedAtMs };
  return seal(protection, binding, testPosition(lastSequence), Buffer.from("21.5"), options);
}

const onlySigned = "[{ topics: ['#'], require: signed }]";

/** The epoch of the key that a message of a device without TLS is sealed with. */
function epochSealedWith(nowMs: number, groupKeys: SealingKeys): number {
  const payloads = "[{ topics: ['#'], require: encrypted, deliver: sealed, groupKeys: g.json }]";
  const toServer: Protection = { mode: "encrypted", recipients: [recipientKey(brokerKey.publicKey)] };
  const verdict = checker(payloads, { groupKeys })
    .ruleOn(topic)
    ?.check(sealed(toServer), { ...source, nowMs });
  assert.ok(verdict?.kind === "accepted");
  const found = structureOf(verdict.payload);
  assert.ok(found.kind === "sealed");
  return found.structure.header.epoch;
}

/** What a session or a retained topic keeps of the sender's message. */
function kept(payload: Buffer) {
  return {
    topic,
    payload,
    qos: 1 as const,
    properties: Buffer.alloc(0),
    publishedAtMs: 0,
    expiresAtMs: Infinity,
    publisher: sender,
  };
}

describe("a payload checker", () => {
  it("accepts every mode that is demanded, and refuses every other and plain text (attack 69)", () => {
    for (const [name, protection] of testParty().protections) {
      const { mode } = protection;
      if (mode === "signed" && name !== "signed with Ed25519") continue;
      const rules = checker(`[{ topics: ['#'], require: [${mode}] }]`);
      const own: Protection = mode === "signed" ? signed : protection;
      assert.equal(fate(rules, sealed(own)), "accepted", name);
      for (const text of ["21.5", "", "\u0000"])
        assert.equal(fate(rules, Buffer.from(text)), "99 not-sealed", name);
      const other = sealed(mode === "checksum" ? mac : { mode: "checksum" });
      assert.equal(fate(rules, other), "99 wrong-mode", name);
      assert.equal(fate(rules, sealed(own).subarray(0, -1)), "99 malformed", name);
    }
  });

  it("refuses what names another sender than the session's, or is of an anonymous client (attack 71)", () => {
    for (const [require, protection] of [
      ["signed", signed],
      ["mac", mac],
      ["encrypted", { mode: "encrypted", group }],
    ] as const) {
      const rules = checker(`[{ topics: ['#'], require: ${require} }]`, {
        macKeys: new Map([[epoch, group]]),
      });
      const forged = sealed(protection, { ...testBinding, sender: "boiler-8" });
      assert.equal(fate(rules, forged), "87 foreign-sender");
      assert.equal(fate(rules, sealed(protection), { publisher: "" }), "87 foreign-sender");
    }
  });

  it("refuses a signature of another key, on another topic or of another tenant, and one that was altered", () => {
    const rules = checker(onlySigned);
    const other: Protection = { mode: "signed", signing: signingKey(testKey("Ed25519").privateKey) };
    assert.equal(fate(rules, sealed(other)), "87 not-authentic");
    assert.equal(fate(rules, sealed(signed), { topic: "elsewhere" }), "87 not-authentic");
    assert.equal(fate(rules, sealed(signed, { ...testBinding, tenant: "other" })), "87 not-authentic");
    const altered = sealed(signed);
    altered[altered.length - 1] = (altered.at(-1) ?? 0) ^ 1;
    assert.equal(fate(rules, altered), "87 not-authentic");
    const stranger = sealed(signed, { ...testBinding, sender: "nobody" });
    assert.equal(fate(rules, stranger, { publisher: "nobody" }), "87 unknown-sender");
  });

  it("checks MACs with the group's keys where it has them, and their structure alone where not", () => {
    const wrong: Protection = { mode: "mac", group: GroupKey.of(Buffer.alloc(32, 8), epoch) };
    const macOnly = GroupKey.macOnly(group.exportMac(), epoch);
    const rules = checker("[{ topics: ['#'], require: mac }]", { macKeys: new Map([[epoch, macOnly]]) });
    assert.equal(fate(rules, sealed(mac)), "accepted");
    assert.equal(fate(rules, sealed(wrong)), "87 not-authentic");
    for (const [other, word] of [
      [epoch + 1, "future-epoch"],
      [epoch - 1, "expired-epoch"],
    ] as const) {
      const late: Protection = { mode: "mac", group: GroupKey.of(Buffer.alloc(32, 7), other) };
      assert.equal(fate(rules, sealed(late, { ...testBinding, epoch: other })), `87 ${word}`);
    }
    assert.equal(fate(checker("[{ topics: ['#'], require: mac }]"), sealed(wrong)), "accepted");
  });

  it("accepts each message once, also after a restart, and calls one that is sent again repeated (attack 68)", () => {
    const rules = checker(onlySigned);
    const [first, second] = [sealed(signed), sealed(signed)];
    assert.equal(fate(rules, first), "accepted");
    assert.equal(fate(rules, second), "accepted");
    assert.equal(fate(rules, first), "87 replayed");
    assert.equal(fate(rules, first, { repeated: true }), "repeated");
    const kept = rules.takeAccepted();
    assert.deepEqual(
      kept.map((each) => each.sender),
      [sender],
    );
    assert.deepEqual(rules.takeAccepted(), []);
    const restarted = checker(onlySigned);
    restarted.load([...kept, { sender: "gone", state: Buffer.from("unreadable") }]);
    assert.equal(fate(restarted, second), "87 replayed");
    assert.equal(fate(restarted, sealed(signed)), "accepted");
    lastSequence += 2_000;
    const late = seal(signed, testBinding, testPosition(lastSequence), Buffer.from("late"));
    lastSequence += 1_100;
    assert.equal(fate(restarted, sealed(signed)), "accepted");
    assert.equal(fate(restarted, late), "87 outside-window");
  });

  it("uses up no number for what it refuses, and none of the proved ones for what is only claimed", () => {
    const rules = checker("[{ topics: ['#'], require: [signed, encrypted] }]");
    const forged = seal(
      { mode: "signed", signing: signingKey(testKey("Ed25519").privateKey) },
      testBinding,
      testPosition(lastSequence + 1),
      Buffer.from("x"),
    );
    assert.equal(fate(rules, forged), "87 not-authentic");
    assert.equal(fate(rules, sealed(signed)), "accepted");
    const far = seal({ mode: "encrypted", group }, testBinding, testPosition(2 ** 47), Buffer.from("x"));
    assert.equal(fate(rules, far), "accepted");
    assert.equal(fate(rules, sealed(signed)), "accepted");
  });

  it("refuses what is too old, from the future, or does not say when it was sealed, where age counts", () => {
    for (const protection of [signed, { mode: "encrypted", group } as const]) {
      const rules = checker(`[{ topics: ['#'], require: ${protection.mode}, maxAgeSeconds: 60 }]`);
      const aged = (ms: number): Buffer => sealed(protection, testBinding, testNowMs + ms);
      assert.equal(fate(rules, aged(-59_000)), "accepted");
      assert.equal(fate(rules, aged(-62_000)), "87 too-old");
      assert.equal(fate(rules, aged(62_000)), "87 postdated");
      assert.equal(fate(rules, sealed(protection)), "99 undated");
    }
  });

  it("lets the first entry that matches count, and `none` take topics out", () => {
    const rules = checker(
      "[{ topics: [plain/+], require: none }, { topics: [plain/#], require: signed }, { topics: ['#'], require: checksum }]",
    );
    assert.equal(fate(rules, Buffer.from("x"), { topic: "plain/a" }), "no rule");
    assert.equal(fate(rules, Buffer.from("x"), { topic: "$SYS/a" }), "no rule");
    const checksum = sealed({ mode: "checksum" }, { ...testBinding, topic: "plain/a/b" });
    assert.equal(fate(rules, checksum, { topic: "plain/a/b" }), "99 wrong-mode");
    const elsewhere = sealed({ mode: "checksum" }, { ...testBinding, topic: "other" });
    assert.equal(fate(rules, elsewhere, { topic: "other" }), "accepted");
    assert.equal(checker("[]").ruleOn("any"), undefined);
  });

  it("says whether what was accepted earlier may still be handed on", () => {
    const rule = checker(onlySigned).ruleOn(topic);
    const message = kept(sealed(signed));
    assert.equal(rule?.fits(message), true);
    assert.equal(rule?.fits({ ...message, publisher: "other" }), false);
    assert.equal(rule?.fits({ ...message, payload: Buffer.from("plain") }), false);
    assert.equal(rule?.fits({ ...message, payload: sealed({ mode: "checksum" }) }), false);
  });

  describe("for topics whose payloads are encrypted to the server", () => {
    const toBroker = { recipients: [recipientKey(brokerKey.publicKey)] };
    const encrypted: Protection = { mode: "encrypted", ...toBroker };
    const both: Protection = {
      mode: "signed+encrypted",
      signing: signingKey(device.privateKey),
      ...toBroker,
    };
    const deliverPlain = "[{ topics: ['#'], require: [encrypted, signed+encrypted], deliver: plain }]";

    it("opens them, for connections that nobody else reads, once and of the session's device only", () => {
      const rules = checker(deliverPlain);
      const rule = rules.ruleOn(topic);
      assert.equal(rule?.confidential, true);
      for (const protection of [encrypted, both]) {
        const payload = sealed(protection);
        const verdict = rule?.check(payload, source);
        assert.ok(verdict?.kind === "accepted" && verdict.checks > 1);
        assert.equal(Buffer.from(verdict.payload).toString(), "21.5");
        assert.equal(fate(rules, payload), "87 replayed");
        assert.equal(fate(rules, sealed(protection), { publisher: "boiler-8" }), "87 foreign-sender");
        assert.equal(fate(rules, sealed(protection), { topic: "elsewhere" }), "87 not-authentic");
      }
    });

    it("refuses what is encrypted to others, with a group's key, not at all, or signed by another", () => {
      const rules = checker(deliverPlain);
      const others = { recipients: [recipientKey(testKey("X25519").publicKey)] };
      assert.equal(fate(rules, sealed({ mode: "encrypted", ...others })), "87 not-a-recipient");
      assert.equal(fate(rules, sealed({ mode: "encrypted", group })), "87 no-key");
      assert.equal(fate(rules, Buffer.from("21.5")), "99 not-sealed");
      const forged: Protection = { ...both, signing: signingKey(testKey("Ed25519").privateKey) };
      assert.equal(fate(rules, sealed(forged)), "87 forged-sender");
    });

    it("seals them for a group where the file says so, each with a number of its own", () => {
      const rules = checker("[{ topics: ['#'], require: encrypted, deliver: sealed, groupKeys: g.json }]", {
        groupKeys: [{ key: group, notBeforeMs: 0 }],
      });
      const rule = rules.ruleOn(topic);
      assert.equal(rule?.confidential, false);
      const guard = new ReplayGuard();
      for (let count = 0; count < 3; count += 1) {
        const verdict = rule?.check(sealed(encrypted), source);
        assert.ok(verdict?.kind === "accepted");
        const opened = open(
          verdict.payload,
          { tenant, topic },
          { groupKey: () => group },
          { modes: ["encrypted"], guard },
        );
        assert.ok(opened.kind === "opened", JSON.stringify(opened));
        assert.equal(opened.sender, sender);
        assert.equal(Buffer.from(opened.payload).toString(), "21.5");
      }
    });

    it("lets stay what it sealed for a group, retained or as a will, also where the topic demands signatures", () => {
      const rules = checker(
        "[{ topics: ['#'], require: signed+encrypted, deliver: sealed, groupKeys: g.json }]",
        {
          groupKeys: [{ key: group, notBeforeMs: 0 }],
        },
      );
      const rule = rules.ruleOn(topic);
      const verdict = rule?.check(sealed(both), source);
      assert.ok(verdict?.kind === "accepted");
      const message = kept(Buffer.from(verdict.payload));
      assert.equal(rule?.fits(message), true);
      assert.equal(rule?.fits({ ...message, publisher: "other" }), false);
      assert.equal(rule?.fits({ ...message, payload: Buffer.from("plain") }), false);
    });

    it("seals with no key before its time, when members may not have it yet", () => {
      const next = { key: GroupKey.of(Buffer.alloc(32, 8), epoch + 1), notBeforeMs: testNowMs + 10_000 };
      const current = { key: group, notBeforeMs: testNowMs - 1 };
      assert.equal(epochSealedWith(testNowMs, [next, current]), epoch);
      assert.equal(epochSealedWith(testNowMs + 10_000, [next, current]), epoch + 1);
      // A clock that is behind.
      assert.equal(epochSealedWith(testNowMs - 60_000, [next, current]), epoch);
    });
  });
});
