import assert from "node:assert/strict";
import { createPrivateKey, randomBytes } from "node:crypto";
import { once } from "node:events";
import { rmSync } from "node:fs";
import { join } from "node:path";
import { after, afterEach, before, describe, it } from "node:test";

import type { IPublishPacket } from "mqtt-packet";

import type { SealRule } from "@postern/device/index";
import { seal } from "@postern/seal/envelope/seal";
import { structureOf } from "@postern/seal/envelope/structure";
import { GroupKey } from "@postern/seal/keys/group-key";
import { signingKey } from "@postern/seal/keys/signature";

import { configured, plainAnonymous } from "../support/configurations.ts";
import { DeviceProcess, endDeviceProcesses, startDeviceProcesses } from "../support/device-process.ts";
import { bytesOf, ManInTheMiddle } from "../support/man-in-the-middle.ts";
import { scratch, up, type Scratch, type TestServer } from "../support/postern.ts";
import { portOf } from "../support/raw.ts";

const secret = randomBytes(32);
const former = randomBytes(32);
const keys = [
  { epoch: 2, secret },
  { epoch: 1, secret: former },
];

/** What does not come ends a test, and with it the processes of others. */
const timeout = 120_000;

/** What was started by then, also when not all could be. */
const started = new AsyncDisposableStack();
let directory: Scratch;
let server: TestServer;
let middle: ManInTheMiddle;
let scratches = 0;

before(async () => {
  startDeviceProcesses(2);
  directory = started.use(scratch());
  server = started.use(await up(configured(directory.path, plainAnonymous)));
  middle = started.use(await ManInTheMiddle.start(portOf(server.urls[0])));
});

afterEach(() => {
  middle.tamper = (message) => [message];
});

after(async () => {
  await endDeviceProcesses();
  await started.disposeAsync();
});

function newState(): string {
  return join(directory.path, `state-${++scratches}`);
}

interface Member {
  readonly state?: string;
  readonly rules?: readonly SealRule[];
  readonly tenant?: string;
  readonly bundle?: Awaited<ReturnType<ManInTheMiddle["bundle"]>>;
}

/** A device in a process of its own, whose only way to the server is through the man in the middle. */
async function member(
  device: string,
  { state = newState(), rules = [], tenant, bundle }: Member,
): Promise<DeviceProcess> {
  return DeviceProcess.connect(bundle ?? (await middle.bundle(device, tenant)), {
    clientId: device,
    sessionExpirySeconds: 0,
    retryMsMin: 20,
    seal: { state, rules, authorities: [] },
  });
}

/** Sends it, and gives what the man in the middle saw of it. */
async function seen(device: DeviceProcess, topic: string, text: string): Promise<IPublishPacket> {
  const at = middle.sent.length;
  await device.publish(topic, text);
  const message = middle.sent.slice(at).find((each) => each.topic === topic);
  assert.ok(message !== undefined);
  return message;
}

async function nextText(device: DeviceProcess): Promise<string> {
  return (await device.next()).text;
}

/** The code with which the next message is refused. */
async function refusalAfter(device: DeviceProcess, work: () => unknown): Promise<string> {
  const refused = once(device, "refused");
  await work();
  const [{ code }] = await refused;
  return String(code);
}

describe("attack 67: a sealed payload altered or moved on its way", { timeout }, () => {
  const rules: readonly SealRule[] = [{ filter: "plant/#", mode: "encrypted", keys: [{ epoch: 2, secret }] }];

  it("is refused, whatever bit is changed, and the honest one is delivered", async () => {
    await using receiver = await member("r67", { rules });
    await using sender = await member("s67", { rules });
    await receiver.subscribe("plant/#");
    const original = await seen(sender, "plant/boiler", "geheim 71.5");
    assert.equal(await nextText(receiver), "geheim 71.5");
    const bytes = bytesOf(original);
    const flips = Array.from({ length: bytes.length }, (_, at) => {
      const changed = Buffer.from(bytes);
      changed[at] = (changed[at] ?? 0) ^ (1 << (at % 8));
      return changed;
    });
    for (const payload of [...flips, bytes.subarray(0, -1), bytes.subarray(0, -8), Buffer.alloc(0)]) {
      const before = receiver.refusedCount;
      await refusalAfter(receiver, () => middle.inject("r67", { topic: "plant/boiler", payload }));
      assert.equal(receiver.refusedCount, before + 1);
    }
    await sender.publish("plant/boiler", "after");
    assert.equal(await nextText(receiver), "after");
  });

  it("opens on no other topic, in no other tenant, of no other sender and with no key of an epoch that is over", async () => {
    await using receiver = await member("r67b", { rules });
    await receiver.subscribe("plant/#");
    const refusalOf = async (name: string, options: Member): Promise<string> => {
      await using sender = await member(name, options);
      return await refusalAfter(receiver, () => sender.publish("plant/boiler", "x"));
    };
    middle.tamper = (message) => [{ ...message, topic: "plant/door" }];
    assert.equal(await refusalOf("s67b", { rules }), "not-authentic");
    middle.tamper = (message) => [message];
    assert.equal(await refusalOf("x67b", { rules, tenant: "other" }), "not-authentic");
    const former: readonly SealRule[] = [{ filter: "plant/#", mode: "encrypted", keys: keys.slice(1) }];
    assert.equal(await refusalOf("o67b", { rules: former }), "expired-epoch");
    await using sender = await member("s67b", { rules });
    await sender.publish("plant/boiler", "honest");
    assert.equal(await nextText(receiver), "honest");
  });
});

describe("attack 68: a sealed payload sent again", { timeout }, () => {
  it("is refused within the window, outside of it, retained, and after the receiver started again", async () => {
    const state = newState();
    const bundle = await middle.bundle("s68");
    const signers = { s68: [bundle.certificate] };
    const signed: readonly SealRule[] = [{ filter: "cmd/#", mode: "signed+encrypted", keys, signers }];
    const receiverBundle = await middle.bundle("r68");
    const options = { state, rules: signed, bundle: receiverBundle };
    const counted = newState();
    await using sender = await member("s68", { rules: signed, state: counted, bundle });
    await using first = await member("r68", options);
    await first.subscribe("cmd/#");
    const open = await seen(sender, "cmd/door", "open");
    assert.equal(await nextText(first), "open");
    const again = { topic: "cmd/door", payload: bytesOf(open) };
    // The first is still in hand.
    assert.equal(await refusalAfter(first, () => middle.inject("r68", again)), "duplicate");
    await sender.publish("cmd/door", "shut");
    assert.equal(await nextText(first), "shut");
    assert.equal(await refusalAfter(first, () => middle.inject("r68", { ...again, qos: 0 })), "replayed");
    assert.equal(
      await refusalAfter(first, () => middle.inject("r68", { ...again, retain: true })),
      "unexpected-retained",
    );
    // What was reserved before a crash is left out: the window moves on by as much.
    await sender.crash();
    await using restarted = await member("s68", { rules: signed, state: counted, bundle });
    const last = await seen(restarted, "cmd/door", "last");
    assert.equal(await nextText(first), "last");
    await restarted.publish("cmd/door", "done");
    assert.equal(await nextText(first), "done");
    assert.equal(await refusalAfter(first, () => middle.inject("r68", again)), "outside-window");
    await first.leave();
    await first.crash();

    await using second = await member("r68", options);
    await second.subscribe("cmd/#");
    for (const [replay, code] of [
      [open, "outside-window"],
      [last, "replayed"],
    ] as const) {
      const message = { topic: "cmd/door", payload: bytesOf(replay), qos: 0 as const };
      assert.equal(await refusalAfter(second, () => middle.inject("r68", message)), code);
    }
    // A crash costs no command.
    await restarted.publish("cmd/door", "new");
    assert.equal(await nextText(second), "new");
  });
});

describe("attack 69: plain text on a topic that demands encryption", { timeout }, () => {
  it("is never delivered, and never sent", async () => {
    const rules: readonly SealRule[] = [{ filter: "plant/#", mode: "encrypted", keys }];
    await using receiver = await member("r69", { rules });
    await receiver.subscribe("#");
    {
      await using careless = await member("c69", {});
      const plain = refusalAfter(receiver, () => careless.publish("plant/boiler", "plain"));
      assert.equal(await plain, "not-sealed");
      await careless.publish("elsewhere", "plain where nothing is demanded");
      assert.equal(await nextText(receiver), "plain where nothing is demanded");
    }
    {
      await using checking = await member("m69", { rules: [{ filter: "plant/#", mode: "mac", keys }] });
      const readable = refusalAfter(receiver, () => checking.publish("plant/boiler", "readable"));
      assert.equal(await readable, "wrong-mode");
    }
    {
      await using keyless = await member("k69", { rules: [{ filter: "plant/#", mode: "encrypted" }] });
      const at = middle.sent.length;
      await assert.rejects(keyless.publish("plant/boiler", "plain"), { code: "SEAL" });
      assert.equal(middle.sent.length, at);
    }
    await using sender = await member("s69", { rules });
    await sender.publish("plant/boiler", "sealed");
    assert.equal(await nextText(receiver), "sealed");
  });

  it("shows the operator of the broker nothing of what is in it", async () => {
    const rules: readonly SealRule[] = [{ filter: "plant/#", mode: "encrypted", keys }];
    await using sender = await member("s69b", { rules });
    const message = await seen(sender, "plant/boiler", "the recipe is 7 parts of water");
    assert.ok(!bytesOf(message).includes("recipe"));
    assert.equal(message.properties?.contentType, "application/cose");
  });
});

describe("attack 71: a member that sends a command in another's name", { timeout }, () => {
  it("is found out by the signature within, and the one it names is not", async () => {
    const [victim, mallory] = await Promise.all([middle.bundle("alice71"), middle.bundle("mallory71")]);
    const signers = { alice71: [victim.certificate], mallory71: [mallory.certificate] };
    const rules: readonly SealRule[] = [{ filter: "cmd/#", mode: "signed+encrypted", keys, signers }];
    await using receiver = await member("r71", { rules });
    await using alice = await member("alice71", { rules, bundle: victim });
    await receiver.subscribe("cmd/#");
    const group = GroupKey.of(secret, 2);
    const signing = signingKey(createPrivateKey(mallory.key));
    const binding = { tenant: "default", topic: "cmd/door", sender: "alice71", epoch: 2 };
    const position = { instance: randomBytes(8), sequence: 7 };
    const forge = (protection: Parameters<typeof seal>[0], changes = {}): Buffer =>
      seal(protection, { ...binding, ...changes }, position, Buffer.from("open"));
    const attempts = [
      [forge({ mode: "signed+encrypted", signing, group }), "forged-sender"],
      [forge({ mode: "signed+encrypted", signing, group }, { sender: "nobody" }), "unknown-sender"],
      [forge({ mode: "encrypted", group }), "wrong-mode"],
      [forge({ mode: "signed", signing }), "wrong-mode"],
    ] as const;
    for (const [payload, code] of attempts)
      assert.equal(
        await refusalAfter(receiver, () => middle.inject("r71", { topic: "cmd/door", payload })),
        code,
      );
    await alice.publish("cmd/door", "shut");
    assert.deepEqual(await receiver.next(), { text: "shut", sender: "alice71" });
  });
});

describe("attack 72: a device that lost how far it had counted", { timeout }, () => {
  it("never uses a nonce twice: it begins a new instance, and goes on behind what was reserved after a crash", async () => {
    const rules: readonly SealRule[] = [{ filter: "plant/#", mode: "encrypted", keys }];
    const state = newState();
    const bundle = await middle.bundle("s72");
    await using receiver = await member("r72", { rules });
    await receiver.subscribe("plant/#");
    const places = new Set<string>();
    const run = async (end: (sender: DeviceProcess) => Promise<void>): Promise<void> => {
      await using sender = await member("s72", { rules, state, bundle });
      for (const text of ["1", "2"]) {
        const found = structureOf(bytesOf(await seen(sender, "plant/x", text)));
        assert.ok(found.kind === "sealed");
        const { instance, sequence } = found.structure.header;
        places.add(`${Buffer.from(instance).toString("hex")}:${sequence}`);
        assert.equal(await nextText(receiver), text);
      }
      await end(sender);
    };
    await run((sender) => sender.crash());
    await run(() => Promise.resolve());
    rmSync(state, { recursive: true });
    await run(() => Promise.resolve());
    assert.equal(places.size, 6);
    assert.equal(new Set([...places].map((place) => place.split(":")[0])).size, 2);
  });
});
