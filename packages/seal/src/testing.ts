import { createPrivateKey, createPublicKey, generateKeyPairSync, type KeyObject } from "node:crypto";

import * as fc from "fast-check";

import { seal, type Protection } from "./envelope/seal.ts";
import type { Binding } from "./envelope/binding.ts";
import type { OpeningKeys } from "./envelope/open.ts";
import type { Position } from "./envelope/position.ts";
import { GroupKey } from "./keys/group-key.ts";
import { decryptionKey, recipientKey } from "./keys/recipient.ts";
import { signingKey, verifyingKey } from "./keys/signature.ts";

/** 2026-01-01T00:00:00Z. */
export const testNowMs = 1_767_225_600_000;

export const testBinding: Binding = {
  tenant: "plant",
  topic: "plant/boiler/cmd",
  sender: "boiler-7",
  epoch: 3,
};

export function testPosition(sequence: number, instance = 1): Position {
  return { instance: Buffer.alloc(8, instance), sequence };
}

const curves = {
  Ed25519: () => generateKeyPairSync("ed25519").privateKey,
  "P-256": () => generateKeyPairSync("ec", { namedCurve: "P-256" }).privateKey,
  "P-384": () => generateKeyPairSync("ec", { namedCurve: "P-384" }).privateKey,
  X25519: () => generateKeyPairSync("x25519").privateKey,
};

export function testKey(type: keyof typeof curves): {
  readonly privateKey: KeyObject;
  readonly publicKey: KeyObject;
} {
  const privateKey = curves[type]();
  return { privateKey, publicKey: createPublicKey(privateKey) };
}

/** A private key from its raw 32 bytes, as vectors have it. */
export function rawPrivateKey(type: "P-256" | "X25519" | "Ed25519", raw: Uint8Array): KeyObject {
  const prefixes = {
    X25519: "302e020100300506032b656e04220420",
    Ed25519: "302e020100300506032b657004220420",
  };
  if (type === "P-256") {
    const der = Buffer.concat([
      Buffer.from("30310201010420", "hex"),
      raw,
      Buffer.from("a00a06082a8648ce3d030107", "hex"),
    ]);
    return createPrivateKey({ key: der, format: "der", type: "sec1" });
  }
  return createPrivateKey({
    key: Buffer.concat([Buffer.from(prefixes[type], "hex"), raw]),
    format: "der",
    type: "pkcs8",
  });
}

/** One sender and one receiver that know each other, in every way of protection. */
export function testParty(): {
  readonly protections: readonly (readonly [name: string, Protection])[];
  readonly keys: OpeningKeys;
  readonly group: GroupKey;
} {
  const group = GroupKey.of(Buffer.alloc(32, 7), testBinding.epoch);
  const signers = [testKey("Ed25519"), testKey("P-256"), testKey("P-384")] as const;
  const recipients = [testKey("Ed25519"), testKey("P-256")];
  const toRecipients = recipients.map(({ publicKey }) => recipientKey(publicKey));
  const [ed25519, p256, p384] = signers.map(({ privateKey }) => signingKey(privateKey));
  if (ed25519 === undefined || p256 === undefined || p384 === undefined)
    throw new RangeError("three signers");
  return {
    group,
    protections: [
      ["checksum", { mode: "checksum" }],
      ["MAC", { mode: "mac", group }],
      ["signed with Ed25519", { mode: "signed", signing: ed25519 }],
      ["signed with P-256", { mode: "signed", signing: p256 }],
      ["signed with P-384", { mode: "signed", signing: p384 }],
      ["encrypted for a group", { mode: "encrypted", group }],
      ["encrypted to recipients", { mode: "encrypted", recipients: toRecipients }],
      ["signed and encrypted for a group", { mode: "signed+encrypted", signing: ed25519, group }],
      [
        "signed and encrypted to recipients",
        { mode: "signed+encrypted", signing: p256, recipients: toRecipients },
      ],
    ],
    keys: {
      groupKey: (_topic, epoch) =>
        epoch === group.epoch ? group : epoch > group.epoch ? "future-epoch" : "expired-epoch",
      signers: (_topic, sender) =>
        sender === testBinding.sender ? signers.map(({ publicKey }) => verifyingKey(publicKey)) : [],
      decryption: recipients.map(({ privateKey }) => decryptionKey(privateKey)),
    },
  };
}

/** Noise, and sealed payloads with something changed: bytes set, cut out, put in or said twice. */
export function hostileBytes(): fc.Arbitrary<Uint8Array> {
  const { protections } = testParty();
  const sealed = protections.map(([, how]) =>
    seal(how, testBinding, testPosition(1), Buffer.from("payload")),
  );
  const edit = fc.record({
    at: fc.nat(500),
    byte: fc.nat(255),
    how: fc.constantFrom("set", "cut", "put", "twice"),
  });
  const edited = fc
    .tuple(fc.constantFrom(...sealed), fc.array(edit, { minLength: 1, maxLength: 4 }))
    .map(([bytes, edits]) => {
      let changed: Buffer = Buffer.from(bytes);
      for (const { at, byte, how } of edits) {
        const [before, after] = [changed.subarray(0, at), changed.subarray(at)];
        if (how === "set") changed = Buffer.concat([before, Buffer.of(byte), after.subarray(1)]);
        else if (how === "cut") changed = Buffer.concat([before, after.subarray(1 + (byte & 7))]);
        else if (how === "put") changed = Buffer.concat([before, Buffer.of(byte), after]);
        else changed = Buffer.concat([before, after.subarray(0, byte & 31), after]);
      }
      return changed;
    });
  return fc.oneof(fc.uint8Array({ maxLength: 200 }), edited);
}
