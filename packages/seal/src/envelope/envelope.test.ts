import assert from "node:assert/strict";
import { describe, it } from "node:test";

import * as fc from "fast-check";

import { aeadOpen, aeadSeal, numberedNonce } from "../aead.ts";
import { encodeCbor } from "../cbor/encode.ts";
import { CborTagged } from "../cbor/value.ts";
import { GroupKey } from "../keys/group-key.ts";
import { decryptionKey, recipientKey } from "../keys/recipient.ts";
import { signingKey, verifyingKey } from "../keys/signature.ts";
import { ReplayGuard } from "../replay/replay-guard.ts";
import { RetainedOnce } from "../replay/retained-once.ts";
import { testBinding as binding, testKey, testNowMs, testParty, testPosition } from "../testing.ts";
import { coseStructure, encodeBinding } from "./binding.ts";
import { encodeHeader } from "./header.ts";
import { open, type OpenOptions, type OpeningKeys } from "./open.ts";
import { seal, type Protection } from "./seal.ts";
import { sealModes, structureOf } from "./structure.ts";

const payload = Buffer.from("valve=open");
const all: OpenOptions = { modes: sealModes };
const party = testParty();
const { tenant, topic } = binding;

function protection(name: string): Protection {
  const found = party.protections.find(([each]) => each === name)?.[1];
  return found ?? assert.fail(name);
}

function codeOf(
  sealed: Uint8Array,
  options = all,
  place = { tenant, topic },
  keys: OpeningKeys = party.keys,
): string {
  const result = open(sealed, place, keys, options);
  return result.kind === "opened" ? "opened" : result.code;
}

for (const [name, how] of party.protections) {
  describe(`a payload ${name}`, () => {
    const sealed = seal(how, binding, testPosition(300), payload, { sealedAtMs: testNowMs + 999 });

    it("opens where it belongs, with who sent it and when", () => {
      assert.deepEqual(open(sealed, { tenant, topic }, party.keys, all), {
        kind: "opened",
        mode: how.mode,
        payload,
        sender: "boiler-7",
        epoch: 3,
        sequence: 300,
        sealedAtMs: testNowMs,
        retained: false,
      });
    });

    it("shows its mode, sender, epoch and sequence to one without a key", () => {
      const found = structureOf(sealed);
      assert.ok(found.kind === "sealed");
      const { mode, header } = found.structure;
      assert.deepEqual(
        [mode, header.sender, header.epoch, header.sequence, header.instance],
        [how.mode, "boiler-7", 3, 300, Buffer.alloc(8, 1)],
      );
      assert.equal(sealed.includes(payload), !how.mode.includes("encrypted"));
    });

    it("does not open on another topic, nor for another tenant", () => {
      assert.equal(codeOf(sealed, all, { tenant, topic: "plant/boiler/cmd2" }), "not-authentic");
      assert.equal(codeOf(sealed, all, { tenant: "plan", topic }), "not-authentic");
    });

    it("does not open with any bit of it changed, any byte left out or one added", () => {
      for (let byte = 0; byte < sealed.length; byte++) {
        const changed = Buffer.from(sealed);
        changed[byte] = (changed[byte] ?? 0) ^ (1 << (byte % 8));
        assert.notEqual(codeOf(changed), "opened", `byte ${byte}`);
        assert.notEqual(
          codeOf(Buffer.concat([sealed.subarray(0, byte), sealed.subarray(byte + 1)])),
          "opened",
        );
        assert.notEqual(codeOf(sealed.subarray(0, byte)), "opened");
      }
      assert.equal(codeOf(Buffer.concat([sealed, Buffer.of(0)])), "malformed");
    });

    it("opens once", () => {
      const options = { ...all, guard: new ReplayGuard() };
      assert.equal(codeOf(sealed, options), "opened");
      assert.equal(codeOf(sealed, options), "replayed");
      assert.equal(codeOf(sealed, { ...options, delivery: { mayRepeat: true } }), "duplicate");
    });

    it("opens whatever was sealed, for any topic, sender and position", () => {
      const cases = fc.record({
        topic: fc.string({ minLength: 1, unit: "grapheme" }),
        sequence: fc.integer({ min: 0, max: 2 ** 48 - 1 }),
        payload: fc.uint8Array({ maxLength: 300 }),
      });
      fc.assert(
        fc.property(cases, (each) => {
          const bytes = seal(
            how,
            { ...binding, topic: each.topic },
            testPosition(each.sequence),
            each.payload,
          );
          const result = open(bytes, { tenant, topic: each.topic }, party.keys, all);
          assert.ok(result.kind === "opened");
          assert.equal(Buffer.compare(result.payload, each.payload), 0);
          assert.equal(result.sequence, each.sequence);
        }),
        { numRuns: 20 },
      );
    });
  });
}

describe("what does not open", () => {
  const encrypted = protection("encrypted for a group");
  const commanded = protection("signed and encrypted for a group");

  it("is plain text, where the topic demands a seal", () => {
    assert.equal(codeOf(payload), "not-sealed");
    assert.equal(codeOf(Buffer.alloc(0)), "not-sealed");
  });

  it("is protected less than the topic demands", () => {
    const strict: OpenOptions = { modes: ["signed+encrypted"] };
    for (const [name, how] of party.protections) {
      const sealed = seal(how, binding, testPosition(1), payload);
      assert.equal(codeOf(sealed, strict), how.mode === "signed+encrypted" ? "opened" : "wrong-mode", name);
    }
  });

  it("is of an epoch that is over or has not come, or there is no key at all", () => {
    for (const [epoch, code] of [
      [2, "expired-epoch"],
      [4, "future-epoch"],
    ] as const) {
      const group = GroupKey.of(Buffer.alloc(32, 7), epoch);
      assert.equal(
        codeOf(seal({ mode: "encrypted", group }, { ...binding, epoch }, testPosition(1), payload)),
        code,
      );
    }
    assert.equal(
      codeOf(seal(encrypted, binding, testPosition(1), payload), all, { tenant, topic }, {}),
      "no-key",
    );
  });

  it("is sealed with another key of the same epoch", () => {
    const group = GroupKey.of(Buffer.alloc(32, 8), binding.epoch);
    for (const mode of ["mac", "encrypted"] as const) {
      assert.equal(codeOf(seal({ mode, group }, binding, testPosition(1), payload)), "not-authentic");
    }
  });

  it("is signed by nobody we know, or by another one than it says", () => {
    const stranger = signingKey(testKey("Ed25519").privateKey);
    const { group } = party;
    for (const how of [
      { mode: "signed", signing: stranger },
      { mode: "signed+encrypted", signing: stranger, group },
    ] as const) {
      const unknown = seal(how, { ...binding, sender: "boiler-8" }, testPosition(1), payload);
      assert.equal(codeOf(unknown), "unknown-sender");
      const forged = seal(how, binding, testPosition(1), payload);
      assert.equal(codeOf(forged), how.mode === "signed" ? "not-authentic" : "forged-sender");
    }
  });

  it("is encrypted to others", () => {
    const recipients = [recipientKey(testKey("P-256").publicKey)];
    const sealed = seal({ mode: "encrypted", recipients }, binding, testPosition(1), payload);
    assert.equal(codeOf(sealed), "not-a-recipient");
  });

  it("is another member's signed command, taken out and sealed again as a new one", () => {
    // A member has the group's key: it can open the command, and encrypt what was in it under the sender's name and a new number.
    const sealed = seal(commanded, binding, testPosition(1), payload);
    const inner = open(sealed, { tenant, topic }, party.keys, all);
    assert.ok(inner.kind === "opened");
    const { group } = party;
    const plain = { ...all, modes: sealModes };
    const taken = innerOf(sealed);
    const again = seal({ mode: "encrypted", group }, binding, testPosition(2), taken);
    const asEncrypted = open(again, { tenant, topic }, party.keys, plain);
    assert.ok(asEncrypted.kind === "opened" && Buffer.compare(asEncrypted.payload, taken) === 0);
    assert.equal(codeOf(again, { modes: ["signed+encrypted"] }), "wrong-mode");
    assert.equal(codeOf(resealed(taken, 2), all), "forged-sender");
  });

  it("was sealed too long ago, later than now, or does not say when", () => {
    const options = { ...all, age: { nowMs: testNowMs, maxMs: 300_000 } };
    assert.equal(codeOf(sealedAt(testNowMs - 300_000), options), "opened");
    assert.equal(codeOf(sealedAt(testNowMs - 301_000), options), "too-old");
    assert.equal(codeOf(sealedAt(testNowMs + 60_000), options), "opened");
    assert.equal(codeOf(sealedAt(testNowMs + 61_000), options), "postdated");
    assert.equal(codeOf(sealedAt(), options), "undated");
    const retained = { ...options, retained: new RetainedOnce(), delivery: { retained: true } };
    assert.equal(codeOf(sealedAt(testNowMs - 86_400_000), retained), "opened");
  });

  it("is retained where none is expected, or a second time in a subscription, whatever the broker says", () => {
    const options = { ...all, guard: new ReplayGuard() };
    const sealed = seal(encrypted, binding, testPosition(1), payload);
    assert.equal(codeOf(sealed, options), "opened");
    const retained = { ...options, delivery: { retained: true } };
    assert.equal(codeOf(sealed, retained), "unexpected-retained");
    const gate = new RetainedOnce();
    const result = open(sealed, { tenant, topic }, party.keys, { ...retained, retained: gate });
    assert.ok(result.kind === "opened" && result.retained);
    assert.equal(codeOf(sealed, { ...retained, retained: gate }), "unexpected-retained");
    gate.begin();
    assert.equal(codeOf(sealed, { ...retained, retained: gate }), "opened");
    assert.equal(codeOf(sealed, options), "replayed");
  });

  it("does not use up a number of the sender when it is forged", () => {
    const guard = new ReplayGuard();
    const sealed = seal(encrypted, binding, testPosition(5), payload);
    const forged = Buffer.from(sealed);
    forged[forged.length - 1] = (forged[forged.length - 1] ?? 0) ^ 1;
    assert.equal(codeOf(forged, { ...all, guard }), "not-authentic");
    assert.equal(codeOf(sealed, { ...all, guard }), "opened");
  });
});

function sealedAt(sealedAtMs?: number): Buffer {
  const options = sealedAtMs === undefined ? {} : { sealedAtMs };
  return seal(protection("encrypted for a group"), binding, testPosition(1), payload, options);
}

/** What is in the encryption of a `signed+encrypted` payload of the group: the COSE_Sign1. */
function innerOf(sealed: Uint8Array): Uint8Array {
  const found = structureOf(sealed);
  assert.ok(found.kind === "sealed");
  const { header, headerBytes, content } = found.structure;
  const encryption = party.group.encryptionOf(header.sender, header.instance) ?? assert.fail();
  const nonce = numberedNonce(encryption.baseNonce, header.sequence);
  const aad = coseStructure("Encrypt0", [headerBytes, encodeBinding(binding)]);
  return aeadOpen("aes-256-gcm", { key: encryption.key, nonce, aad }, content) ?? assert.fail();
}

/** What a member of the group can do with another one's COSE_Sign1: encrypt it under a new number. */
function resealed(inner: Uint8Array, sequence: number): Buffer {
  const position = testPosition(sequence);
  const headerBytes = encodeHeader({
    algorithm: 3,
    holdsSignature: true,
    ...position,
    sender: binding.sender,
    epoch: binding.epoch,
    sealedAtSeconds: undefined,
  });
  const encryption = party.group.encryptionOf(binding.sender, position.instance) ?? assert.fail();
  const nonce = numberedNonce(encryption.baseNonce, sequence);
  const aad = coseStructure("Encrypt0", [headerBytes, encodeBinding(binding)]);
  const content = aeadSeal("aes-256-gcm", { key: encryption.key, nonce, aad }, inner);
  return encodeCbor(new CborTagged(16, [headerBytes, new Map(), content]));
}

describe("a caller's mistake", () => {
  it("is a RangeError: another epoch than the key's, no recipients, a number that is none, a name with control characters", () => {
    const { group } = party;
    const encrypted = { mode: "encrypted", group } as const;
    assert.throws(() => seal(encrypted, { ...binding, epoch: 4 }, testPosition(1), payload), RangeError);
    assert.throws(
      () => seal({ mode: "encrypted", recipients: [] }, binding, testPosition(1), payload),
      RangeError,
    );
    assert.throws(() => seal(encrypted, binding, testPosition(2 ** 48), payload), RangeError);
    assert.throws(
      () => seal(encrypted, { ...binding, sender: "a\nb" }, testPosition(1), payload),
      RangeError,
    );
    const macOnly = GroupKey.macOnly(group.exportMac(), 3);
    assert.throws(
      () => seal({ mode: "encrypted", group: macOnly }, binding, testPosition(1), payload),
      RangeError,
    );
  });

  it("is a TypeError: keys that cannot be used for it", () => {
    const { privateKey, publicKey } = testKey("P-384");
    assert.throws(() => recipientKey(publicKey), TypeError);
    assert.throws(() => decryptionKey(privateKey), TypeError);
    assert.throws(() => signingKey(testKey("X25519").privateKey), TypeError);
    assert.throws(() => verifyingKey(privateKey), TypeError);
  });
});

describe("a broker that was given the MAC key of a group", () => {
  it("checks MACs with it, and reads nothing that is encrypted", () => {
    const { group } = party;
    const given = GroupKey.macOnly(group.exportMac(), group.epoch);
    const keys: OpeningKeys = { groupKey: () => given };
    const place = { tenant, topic };
    assert.equal(
      codeOf(seal({ mode: "mac", group }, binding, testPosition(1), payload), all, place, keys),
      "opened",
    );
    const encrypted = seal({ mode: "encrypted", group }, binding, testPosition(2), payload);
    assert.equal(codeOf(encrypted, all, place, keys), "no-key");
  });
});
