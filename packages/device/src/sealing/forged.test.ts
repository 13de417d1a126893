import assert from "node:assert/strict";
import { generateKeyPairSync, randomBytes, type KeyObject } from "node:crypto";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";

import { seal, type Protection } from "@postern/seal/envelope/seal";
import { rotated, withMembers, type Group } from "@postern/seal/groups/group";
import { sealKeyPackage } from "@postern/seal/groups/key-package";
import { packagedFor } from "@postern/seal/groups/package-content";
import { GroupKey } from "@postern/seal/keys/group-key";
import { recipientKey } from "@postern/seal/keys/recipient";
import { signingKey, verifyingKey } from "@postern/seal/keys/signature";

import { Message } from "../message.ts";
import type { SealRule } from "./rules.ts";
import { Sealing } from "./sealing.ts";

const [own, panel, authority] = [pair(), pair(), pair()];
const firstEpoch = 1;

function pair(): { readonly privateKey: KeyObject; readonly publicKey: KeyObject } {
  return generateKeyPairSync("ec", { namedCurve: "P-256" });
}

function pem({ publicKey }: { readonly publicKey: KeyObject }): string {
  return publicKey.export({ type: "spki", format: "pem" }).toString();
}

function der(key: KeyObject): Buffer {
  return key.export({ type: "spki", format: "der" });
}

function group(name: string, filter: string, mode: Group["mode"]): Group {
  const nowMs = Date.now();
  const none: Group = {
    name,
    mode,
    filters: [filter],
    maxAgeSeconds: undefined,
    retained: false,
    rotateSeconds: undefined,
    graceSeconds: 0,
    epochs: [],
    members: [],
  };
  const members = [
    { device: "pump", keys: [der(own.publicKey)], signs: false },
    { device: "panel", keys: [der(panel.publicKey)], signs: true },
  ];
  return withMembers(none, members, { nowMs, randomBytes });
}

function keyOf({ epochs }: Group): GroupKey {
  const [newest] = epochs;
  assert.ok(newest !== undefined);
  return GroupKey.of(newest.secret, newest.epoch);
}

/** A message as somebody makes it in the name of the panel. */
function inItsName(
  topic: string,
  protection: Protection,
  {
    sequence = 1,
    instance = 0xee,
    epoch = firstEpoch,
    sender = "panel",
  }: {
    readonly sequence?: number;
    readonly instance?: number;
    readonly epoch?: number;
    readonly sender?: string;
  } = {},
): Message {
  const position = { instance: Buffer.alloc(8, instance), sequence };
  const binding = { tenant: "plant", topic, sender, epoch };
  const payload = seal(protection, binding, position, Buffer.from("999"));
  return new Message({
    topic,
    payload,
    qos: 1,
    retained: false,
    duplicate: false,
    properties: {},
    sealed: undefined,
  });
}

function verdict(sealing: Sealing, message: Message): string {
  const opening = sealing.open(message, []);
  if (opening.kind === "refused") return opening.refusal.code;
  opening.settled();
  return opening.message.text();
}

function give(sealing: Sealing, groups: readonly Group[]): void {
  const content = {
    tenant: "plant",
    device: "pump",
    serial: 1,
    groups: packagedFor("pump", groups, Date.now()),
  };
  const keys = { recipient: recipientKey(own.publicKey), authority: signingKey(authority.privateKey) };
  assert.equal(sealing.takeKeys("$keys/pump", sealKeyPackage(content, keys)), undefined);
}

describe("what somebody makes in the name of another", () => {
  let directory = "";
  before(() => {
    directory = mkdtempSync(join(tmpdir(), "postern-forged-"));
  });
  after(() => rmSync(directory, { recursive: true, force: true }));

  const start = (rules: readonly SealRule[], authorities: readonly KeyObject[] = []): Promise<Sealing> =>
    Sealing.start(
      {
        tenant: "plant",
        device: "pump",
        key: own.privateKey.export({ type: "pkcs8", format: "pem" }).toString(),
      },
      { state: mkdtempSync(join(directory, "state-")), rules, authorities: authorities.map(verifyingKey) },
    );

  it("by encrypting to the device's certificate is not taken where the key of a group is expected", async () => {
    const topic = "plant/panel/level";
    const forged = inItsName(topic, { mode: "encrypted", recipients: [recipientKey(own.publicKey)] });
    const rule: SealRule = { filter: "plant/#", mode: "encrypted" };
    const keys = [{ epoch: firstEpoch, secret: randomBytes(32) }];

    const ofGroup = await start([], [authority.publicKey]);
    give(ofGroup, [group("telemetry", "plant/#", "encrypted")]);
    assert.equal(verdict(ofGroup, forged), "wrong-mode");
    // The broker keeps back the keys of the group that the rule counts on.
    const keptBack = await start([rule], [authority.publicKey]);
    assert.equal(verdict(keptBack, forged), "wrong-mode");
    const withKeys = await start([{ ...rule, keys }]);
    assert.equal(verdict(withKeys, forged), "wrong-mode");

    const toItself = await start([{ ...rule, recipients: [pem(panel)] }]);
    assert.equal(verdict(toItself, forged), "999");
    const signedFor = await start([
      { filter: "plant/#", mode: "signed+encrypted", signers: { panel: [pem(panel)] } },
    ]);
    const signing = signingKey(panel.privateKey);
    const recipients = [recipientKey(own.publicKey)];
    assert.equal(
      verdict(signedFor, inItsName(topic, { mode: "signed+encrypted", signing, recipients })),
      "999",
    );
    for (const each of [ofGroup, keptBack, withKeys, toItself, signedFor]) await each.close();
  });

  it("in one group does not use up its numbers in another, nor those of what it signs", async () => {
    const telemetry = group("telemetry", "plant/#", "encrypted");
    const levels = group("levels", "plant/+/level", "encrypted");
    const commands = group("commands", "plant/+/cmd", "signed+encrypted");
    const sealing = await start([], [authority.publicKey]);
    give(sealing, [telemetry, levels, commands]);
    for (let instance = 0xf0; instance <= 0xff; instance++) {
      const forged = inItsName(
        "plant/a",
        { mode: "encrypted", group: keyOf(telemetry) },
        { sequence: 2 ** 40, instance },
      );
      assert.equal(verdict(sealing, forged), "999");
    }
    const level = inItsName("plant/a/level", { mode: "encrypted", group: keyOf(levels) });
    assert.equal(verdict(sealing, level), "999");
    assert.equal(verdict(sealing, level), "duplicate");
    const signing = signingKey(panel.privateKey);
    const command = inItsName("plant/a/cmd", { mode: "signed+encrypted", signing, group: keyOf(commands) });
    assert.equal(verdict(sealing, command), "999");
    assert.equal(verdict(sealing, command), "duplicate");
    await sealing.close();
  });

  it("is not taken, nor is anything sent, on topics of a group that the device left, though a wider group has them too", async () => {
    const telemetry = group("telemetry", "plant/#", "encrypted");
    const commands = group("commands", "plant/+/cmd", "signed+encrypted");
    const sealing = await start([], [authority.publicKey]);
    const message = {
      payload: Buffer.from("1"),
      qos: 1,
      retain: false,
      properties: {},
    } as const;
    give(sealing, [telemetry, commands]);
    give(sealing, [telemetry]);
    const forged = inItsName("plant/a/cmd", { mode: "encrypted", group: keyOf(telemetry) });
    assert.equal(verdict(sealing, forged), "no-key");
    await assert.rejects(
      sealing.seal({ ...message, topic: "plant/a/cmd" }),
      /no member of its group any more/,
    );
    const level = inItsName("plant/a/level", { mode: "encrypted", group: keyOf(telemetry) }, { sequence: 2 });
    assert.equal(verdict(sealing, level), "999");
    await sealing.seal({ ...message, topic: "plant/a/level" });
    give(sealing, [telemetry, commands]);
    const signing = signingKey(panel.privateKey);
    const command = inItsName("plant/a/cmd", { mode: "signed+encrypted", signing, group: keyOf(commands) });
    assert.equal(verdict(sealing, command), "999");
    await sealing.close();
  });

  it("is not taken again with the application's own keys, whatever the epochs of the device's groups", async () => {
    const secret = randomBytes(32);
    const signers = { panel: [pem(panel)] };
    const sealing = await start(
      [
        { filter: "own/level", mode: "encrypted", keys: [{ epoch: 7, secret }] },
        { filter: "own/cmd", mode: "signed+encrypted", keys: [{ epoch: 7, secret }], signers },
        { filter: "own/state", mode: "signed", signers },
      ],
      [authority.publicKey],
    );
    give(sealing, [group("telemetry", "plant/#", "encrypted")]);
    const key = GroupKey.of(secret, 7);
    const signing = signingKey(panel.privateKey);
    const messages = [
      inItsName("own/level", { mode: "encrypted", group: key }, { epoch: 7 }),
      inItsName("own/cmd", { mode: "signed+encrypted", group: key, signing }, { epoch: 7, sequence: 2 }),
      inItsName("own/state", { mode: "signed", signing }, { epoch: 9, sequence: 3 }),
    ];
    for (const message of messages) assert.equal(verdict(sealing, message), "999");
    for (const message of messages) assert.equal(verdict(sealing, message), "duplicate", message.topic);
    await sealing.close();
  });

  it("is not taken again when the clock was ahead for a while, and is right again", async (test) => {
    const telemetry = group("telemetry", "plant/#", "encrypted");
    const nowMs = Date.now();
    test.mock.timers.enable({ apis: ["Date"], now: nowMs });
    const next = rotated(telemetry, { nowMs, randomBytes, graceMs: 60_000 });
    const sealing = await start([], [authority.publicKey]);
    give(sealing, [next]);
    const old = inItsName("plant/a", { mode: "encrypted", group: keyOf(telemetry) });
    assert.equal(verdict(sealing, old), "999");
    test.mock.timers.setTime(nowMs + 3_600_000);
    const command = { mode: "encrypted", group: keyOf(next) } as const;
    assert.equal(verdict(sealing, inItsName("plant/b", command, { epoch: 2, sequence: 2 })), "999");
    test.mock.timers.setTime(nowMs + 1_000);
    assert.equal(verdict(sealing, old), "duplicate");
    await sealing.close();
  });
});
