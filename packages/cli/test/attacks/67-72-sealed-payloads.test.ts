import assert from "node:assert/strict";
import { createPrivateKey, generateKeyPairSync, randomBytes, X509Certificate } from "node:crypto";
import { once } from "node:events";
import { mkdirSync, cpSync, rmSync } from "node:fs";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";

import type { IPublishPacket } from "mqtt-packet";

import { connect, type Device, type SealRule, type Subscription } from "@postern/device/index";
import { seal } from "@postern/seal/envelope/seal";
import { structureOf } from "@postern/seal/envelope/structure";
import { withMembers, withoutMember, type Group, type GroupMember } from "@postern/seal/groups/group";
import { sealKeyPackage } from "@postern/seal/groups/key-package";
import { packagedFor } from "@postern/seal/groups/package-content";
import { GroupKey } from "@postern/seal/keys/group-key";
import { recipientKey } from "@postern/seal/keys/recipient";
import { signingKey } from "@postern/seal/keys/signature";

import { configured, plainAnonymous } from "../support/configurations.ts";
import { bytesOf, ManInTheMiddle } from "../support/man-in-the-middle.ts";
import { scratch, up, type Scratch, type TestServer } from "../support/postern.ts";
import { portOf } from "../support/raw.ts";

const secret = randomBytes(32);
const former = randomBytes(32);
const keys = [
  { epoch: 2, secret },
  { epoch: 1, secret: former },
];

let directory: Scratch;
let server: TestServer;
let middle: ManInTheMiddle;
let scratches = 0;

before(async () => {
  directory = scratch();
  server = await up(configured(directory.path, plainAnonymous));
  middle = await ManInTheMiddle.start(portOf(server.urls[0]));
});

after(async () => {
  await middle[Symbol.asyncDispose]();
  await server[Symbol.asyncDispose]();
  directory[Symbol.dispose]();
});

function newState(): string {
  return join(directory.path, `state-${++scratches}`);
}

interface Member {
  readonly state?: string;
  readonly rules?: readonly SealRule[];
  readonly tenant?: string;
  readonly authorities?: readonly string[];
  readonly bundle?: Awaited<ReturnType<ManInTheMiddle["bundle"]>>;
}

async function member(
  device: string,
  { state = newState(), rules = [], tenant, authorities = [], bundle }: Member,
): Promise<Device> {
  return connect(bundle ?? (await middle.bundle(device, tenant)), {
    clientId: device,
    sessionExpirySeconds: 0,
    retryMsMin: 20,
    seal: { state, rules, authorities },
  });
}

/** Sends it, and gives what the man in the middle saw of it. */
async function seen(device: Device, topic: string, text: string): Promise<IPublishPacket> {
  const at = middle.sent.length;
  await device.publish(topic, text);
  const message = middle.sent.slice(at).find((each) => each.topic === topic);
  assert.ok(message !== undefined);
  return message;
}

async function nextText(messages: Subscription): Promise<string> {
  const next = await messages.next();
  assert.ok(next.done !== true);
  return next.value.text();
}

/** The code with which the next message is refused. */
async function refusalAfter(device: Device, work: () => unknown): Promise<string> {
  const refused = once(device, "refused");
  await work();
  const [{ code }] = await refused;
  return String(code);
}

describe("attack 67: a sealed payload altered or moved on its way", () => {
  const rules: readonly SealRule[] = [{ filter: "plant/#", mode: "encrypted", keys: [{ epoch: 2, secret }] }];

  it("is refused, whatever bit is changed, and the honest one is delivered", async () => {
    await using receiver = await member("r67", { rules });
    await using sender = await member("s67", { rules });
    const messages = receiver.subscribe("plant/#");
    await messages.ready;
    const original = await seen(sender, "plant/boiler", "geheim 71.5");
    assert.equal(await nextText(messages), "geheim 71.5");
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
    assert.equal(await nextText(messages), "after");
  });

  it("opens on no other topic, in no other tenant, of no other sender and with no key of an epoch that is over", async () => {
    await using receiver = await member("r67b", { rules });
    await using sender = await member("s67b", { rules });
    await using foreigner = await member("x67b", { rules, tenant: "other" });
    await using latecomer = await member("o67b", {
      rules: [{ filter: "plant/#", mode: "encrypted", keys: keys.slice(1) }],
    });
    const messages = receiver.subscribe("plant/#");
    await messages.ready;
    const moving = refusalAfter(receiver, () => {
      middle.tamper = (message) => [{ ...message, topic: "plant/door" }];
      return sender.publish("plant/boiler", "open");
    });
    assert.equal(await moving, "not-authentic");
    middle.tamper = (message) => [message];
    assert.equal(await refusalAfter(receiver, () => foreigner.publish("plant/boiler", "x")), "not-authentic");
    assert.equal(await refusalAfter(receiver, () => latecomer.publish("plant/boiler", "x")), "expired-epoch");
    await sender.publish("plant/boiler", "honest");
    assert.equal(await nextText(messages), "honest");
  });
});

describe("attack 68: a sealed payload sent again", () => {
  it("is refused within the window, outside of it, retained, and after the receiver started again", async () => {
    const state = newState();
    const bundle = await middle.bundle("s68");
    const signers = { s68: [bundle.certificate] };
    const signed: readonly SealRule[] = [{ filter: "cmd/#", mode: "signed+encrypted", keys, signers }];
    const receiverBundle = await middle.bundle("r68");
    const options = { state, rules: signed, bundle: receiverBundle };
    await using sender = await member("s68", { rules: signed, bundle });
    const first = await member("r68", options);
    const messages = first.subscribe("cmd/#");
    await messages.ready;
    const open = await seen(sender, "cmd/door", "open");
    assert.equal(await nextText(messages), "open");
    const again = { topic: "cmd/door", payload: bytesOf(open) };
    // The first is still in hand.
    assert.equal(await refusalAfter(first, () => middle.inject("r68", again)), "duplicate");
    await sender.publish("cmd/door", "shut");
    assert.equal(await nextText(messages), "shut");
    assert.equal(await refusalAfter(first, () => middle.inject("r68", { ...again, qos: 0 })), "replayed");
    assert.equal(
      await refusalAfter(first, () => middle.inject("r68", { ...again, retain: true })),
      "unexpected-retained",
    );
    const many = Array.from({ length: 1_030 }, (_, n) => sender.publish("cmd/door", String(n)));
    for (let n = 0; n < many.length; n++) await messages.next();
    await Promise.all(many);
    assert.equal(await refusalAfter(first, () => middle.inject("r68", again)), "outside-window");
    const last = await seen(sender, "cmd/door", "last");
    assert.equal(await nextText(messages), "last");
    await messages.return();
    await first.close();

    await using second = await member("r68", options);
    const later = second.subscribe("cmd/#");
    await later.ready;
    for (const replay of [open, last]) {
      const message = { topic: "cmd/door", payload: bytesOf(replay), qos: 0 as const };
      assert.match(
        await refusalAfter(second, () => middle.inject("r68", message)),
        /^(replayed|outside-window)$/,
      );
    }
    await sender.publish("cmd/door", "new");
    assert.equal(await nextText(later), "new");
  });
});

describe("attack 69: plain text on a topic that demands encryption", () => {
  it("is never delivered, and never sent", async () => {
    const rules: readonly SealRule[] = [{ filter: "plant/#", mode: "encrypted", keys }];
    await using receiver = await member("r69", { rules });
    await using careless = await member("c69", {});
    await using keyless = await member("k69", { rules: [{ filter: "plant/#", mode: "encrypted" }] });
    await using checking = await member("m69", { rules: [{ filter: "plant/#", mode: "mac", keys }] });
    await using sender = await member("s69", { rules });
    const all = receiver.subscribe("#");
    await all.ready;
    assert.equal(await refusalAfter(receiver, () => careless.publish("plant/boiler", "plain")), "not-sealed");
    assert.equal(
      await refusalAfter(receiver, () => checking.publish("plant/boiler", "readable")),
      "wrong-mode",
    );
    const at = middle.sent.length;
    await assert.rejects(keyless.publish("plant/boiler", "plain"), { code: "SEAL" });
    assert.equal(middle.sent.length, at);
    await careless.publish("elsewhere", "plain where nothing is demanded");
    assert.equal(await nextText(all), "plain where nothing is demanded");
    await sender.publish("plant/boiler", "sealed");
    assert.equal(await nextText(all), "sealed");
  });

  it("shows the operator of the broker nothing of what is in it", async () => {
    const rules: readonly SealRule[] = [{ filter: "plant/#", mode: "encrypted", keys }];
    await using sender = await member("s69b", { rules });
    const message = await seen(sender, "plant/boiler", "the recipe is 7 parts of water");
    assert.ok(!bytesOf(message).includes("recipe"));
    assert.equal(message.properties?.contentType, "application/cose");
  });
});

/** Who makes the keys of groups, and publishes them through a broker that it does not trust. */
class KeyAuthority {
  readonly #pair = generateKeyPairSync("ed25519");
  #serial = 0;
  group: Group;

  constructor(rule: Pick<Group, "name" | "filters" | "mode">) {
    this.group = {
      ...rule,
      maxAgeSeconds: undefined,
      retained: false,
      rotateSeconds: undefined,
      graceSeconds: 0,
      epochs: [],
      members: [],
    };
  }

  get publicKey(): string {
    return this.#pair.publicKey.export({ type: "spki", format: "pem" }).toString();
  }

  add(device: string, certificate: string): void {
    const key = new X509Certificate(certificate).publicKey.export({ type: "spki", format: "der" });
    const added: Omit<GroupMember, "joinedEpoch"> = { device, keys: [key], signs: true };
    this.group = withMembers(this.group, [added], { nowMs: Date.now(), randomBytes });
  }

  remove(device: string): void {
    this.group = withoutMember(this.group, device, { nowMs: Date.now(), randomBytes });
  }

  packageFor(device: string, certificate: string): Buffer {
    const content = {
      tenant: "default",
      device,
      serial: ++this.#serial,
      groups: packagedFor(device, [this.group], Date.now()),
    };
    const recipient = recipientKey(new X509Certificate(certificate).publicKey);
    return sealKeyPackage(content, { recipient, authority: signingKey(this.#pair.privateKey) });
  }
}

describe("attack 70: a member that was removed, after the key changed", () => {
  it("can neither read nor write, while the others go on without a new connection", async () => {
    const authority = new KeyAuthority({ name: "plant", filters: ["plant/#"], mode: "encrypted" });
    const names = ["alice70", "bob70", "carol70"] as const;
    const bundles = await Promise.all(names.map((name) => middle.bundle(name)));
    const rules: readonly SealRule[] = [{ filter: "plant/#", mode: "encrypted" }];
    const options = { rules, authorities: [authority.publicKey] };
    const [alice, bob, carol] = await Promise.all(
      names.map((name, at) => member(name, { ...options, ...(bundles[at] && { bundle: bundles[at] }) })),
    );
    assert.ok(alice !== undefined && bob !== undefined && carol !== undefined);
    await using stack = new AsyncDisposableStack();
    for (const device of [alice, bob, carol]) stack.use(device);
    for (const [at, name] of names.entries()) authority.add(name, bundles[at]?.certificate ?? "");
    const devices = { alice70: alice, bob70: bob, carol70: carol };
    const give = async (): Promise<void> => {
      for (const [at, name] of names.entries()) {
        if (!authority.group.members.some(({ device }) => device === name)) continue;
        const payload = authority.packageFor(name, bundles[at]?.certificate ?? "");
        const taken = once(devices[name], "keys");
        middle.inject(name, { topic: `$keys/${name}`, payload });
        await taken;
      }
    };
    const [atBob, atCarol] = [bob.subscribe("plant/#"), carol.subscribe("plant/#")];
    await Promise.all([atBob.ready, atCarol.ready]);
    const old = authority.packageFor("bob70", bundles[1]?.certificate ?? "");
    await give();
    await alice.publish("plant/1", "for all three");
    assert.equal(await nextText(atBob), "for all three");
    assert.equal(await nextText(atCarol), "for all three");

    authority.remove("carol70");
    await give();
    assert.equal(await refusalAfter(carol, () => alice.publish("plant/2", "without carol")), "future-epoch");
    assert.equal(await nextText(atBob), "without carol");
    assert.equal(await refusalAfter(bob, () => carol.publish("plant/1", "carol was here")), "expired-epoch");

    // Nobody but the authority gives keys, and an old package does not come back.
    const impostor = new KeyAuthority({ name: "plant", filters: ["plant/#"], mode: "encrypted" });
    impostor.add("bob70", bundles[1]?.certificate ?? "");
    const forged = {
      topic: "$keys/bob70",
      payload: impostor.packageFor("bob70", bundles[1]?.certificate ?? ""),
    };
    assert.equal(await refusalAfter(bob, () => middle.inject("bob70", forged)), "keys-not-authentic");
    assert.equal(
      await refusalAfter(bob, () => middle.inject("bob70", { topic: "$keys/bob70", payload: old })),
      "keys-stale",
    );
    await alice.publish("plant/3", "still");
    assert.equal(await nextText(atBob), "still");
  });
});

describe("a device that can write nothing any more", () => {
  it("goes on with the keys that come, says so, and does not accept a message twice", async () => {
    const authority = new KeyAuthority({ name: "plant", filters: ["plant/#"], mode: "encrypted" });
    const bundle = await middle.bundle("full70");
    authority.add("full70", bundle.certificate);
    const state = newState();
    await using device = await member("full70", { state, bundle, authorities: [authority.publicKey] });
    const warnings: string[] = [];
    device.on("warning", ({ message }) => warnings.push(message));
    for (const name of ["keys.tmp", "filters.tmp", "accepted.tmp"]) mkdirSync(join(state, name));
    const taken = once(device, "keys");
    const payload = authority.packageFor("full70", bundle.certificate);
    middle.inject("full70", { topic: "$keys/full70", payload });
    await taken;
    const messages = device.subscribe("plant/#");
    await messages.ready;
    const sent = await seen(device, "plant/1", "still");
    assert.equal(await nextText(messages), "still");
    await device.publish("plant/1", "again");
    assert.equal(await nextText(messages), "again");
    const again = { topic: "plant/1", payload: bytesOf(sent) };
    assert.match(
      await refusalAfter(device, () => middle.inject("full70", again)),
      /^(?:replayed|duplicate)$/,
    );
    assert.match(warnings.join("\n"), /cannot write .*filters[^]*cannot write .*accepted/);
    for (const name of ["keys.tmp", "filters.tmp", "accepted.tmp"])
      rmSync(join(state, name), { recursive: true });
  });
});

describe("attack 71: a member that sends a command in another's name", () => {
  it("is found out by the signature within, and the one it names is not", async () => {
    const [victim, mallory] = await Promise.all([middle.bundle("alice71"), middle.bundle("mallory71")]);
    const signers = { alice71: [victim.certificate], mallory71: [mallory.certificate] };
    const rules: readonly SealRule[] = [{ filter: "cmd/#", mode: "signed+encrypted", keys, signers }];
    await using receiver = await member("r71", { rules });
    await using alice = await member("alice71", { rules, bundle: victim });
    const commands = receiver.subscribe("cmd/#");
    await commands.ready;
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
    const next = await commands.next();
    assert.ok(next.done !== true);
    assert.deepEqual([next.value.text(), next.value.sealed?.sender], ["shut", "alice71"]);
  });
});

describe("attack 72: a device that lost how far it had counted", () => {
  it("never uses a nonce twice: it begins a new instance, and goes on behind what was reserved after a crash", async () => {
    const rules: readonly SealRule[] = [{ filter: "plant/#", mode: "encrypted", keys }];
    const state = newState();
    const bundle = await middle.bundle("s72");
    await using receiver = await member("r72", { rules });
    const messages = receiver.subscribe("plant/#");
    await messages.ready;
    const places = new Set<string>();
    /** What a crash in the middle of the work would leave. */
    const crashed = newState();
    const run = async (kept: string): Promise<void> => {
      await using sender = await member("s72", { rules, state: kept, bundle });
      for (const text of ["1", "2"]) {
        const found = structureOf(bytesOf(await seen(sender, "plant/x", text)));
        assert.ok(found.kind === "sealed");
        const { instance, sequence } = found.structure.header;
        places.add(`${Buffer.from(instance).toString("hex")}:${sequence}`);
        assert.equal(await nextText(messages), text);
      }
      rmSync(crashed, { recursive: true, force: true });
      cpSync(kept, crashed, { recursive: true });
    };
    await run(state);
    const left = newState();
    cpSync(crashed, left, { recursive: true });
    await run(left);
    rmSync(state, { recursive: true });
    await run(state);
    assert.equal(places.size, 6);
    assert.equal(new Set([...places].map((place) => place.split(":")[0])).size, 2);
  });
});
