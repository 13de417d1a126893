import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { describe, it } from "node:test";

import { open, type Opened, type Refused } from "../envelope/open.ts";
import { seal } from "../envelope/seal.ts";
import { decryptionKey, recipientKey } from "../keys/recipient.ts";
import { signingKey, verifyingKey } from "../keys/signature.ts";
import { ReplayGuard } from "../replay/replay-guard.ts";
import { SequenceCounter } from "../replay/sequence-counter.ts";
import { testKey, testNowMs } from "../testing.ts";
import { compareExactness } from "./exactness.ts";
import { groupProblem, isRotationDue, rotated, withMembers, withoutMember, type Group } from "./group.ts";
import { keyPackageTopic, sealKeyPackage } from "./key-package.ts";
import { Keyring } from "./keyring.ts";
import { packagedFor } from "./package-content.ts";

const tenant = "plant";
const hourMs = 3_600_000;

/** A key authority, its groups, and the devices it publishes to, with a clock. */
class Stage {
  nowMs = testNowMs;
  serial = 0;
  readonly authority = testKey("Ed25519");
  groups: Group[] = [];
  readonly devices = new Map<string, TestDevice>();

  get chance() {
    return { nowMs: this.nowMs, randomBytes };
  }

  device(name: string, type: "Ed25519" | "P-256" = "P-256"): TestDevice {
    const device = new TestDevice(this, name, type);
    this.devices.set(name, device);
    return device;
  }

  group(options: Partial<Group> & Pick<Group, "name" | "filters" | "mode">): void {
    const group: Group = {
      maxAgeSeconds: undefined,
      retained: false,
      rotateSeconds: 86_400,
      graceSeconds: 3_600,
      epochs: [],
      members: [],
      ...options,
    };
    this.groups.push(rotated(group, this.chance));
  }

  change(name: string, change: (group: Group) => Group): void {
    this.groups = this.groups.map((group) => (group.name === name ? change(group) : group));
  }

  join(group: string, device: TestDevice, signs = false): void {
    const keys = [device.key.publicKey.export({ type: "spki", format: "der" })];
    this.change(group, (each) => withMembers(each, [{ device: device.name, keys, signs }], this.chance));
  }

  packageFor(device: TestDevice): Buffer {
    const content = {
      tenant,
      device: device.name,
      serial: ++this.serial,
      groups: packagedFor(device.name, this.groups, this.nowMs),
    };
    const recipient = recipientKey(device.key.publicKey);
    return sealKeyPackage(content, { recipient, authority: signingKey(this.authority.privateKey) });
  }

  publish(): void {
    for (const device of this.devices.values()) {
      assert.equal(device.keyring.update(this.packageFor(device)).kind, "updated");
    }
  }
}

class TestDevice {
  readonly name: string;
  readonly key: ReturnType<typeof testKey>;
  readonly keyring: Keyring;
  readonly guard = new ReplayGuard();
  readonly #stage: Stage;
  readonly #counter: SequenceCounter;

  constructor(stage: Stage, name: string, type: "Ed25519" | "P-256") {
    this.name = name;
    this.#stage = stage;
    this.key = testKey(type);
    this.#counter = SequenceCounter.volatile(testNowMs, randomBytes);
    this.keyring = new Keyring({
      tenant,
      device: name,
      authorities: [verifyingKey(stage.authority.publicKey)],
      decryption: [decryptionKey(this.key.privateKey)],
      now: () => stage.nowMs,
    });
  }

  async seal(topic: string, payload = "hello"): Promise<Buffer> {
    const choice = this.keyring.sealing(topic, signingKey(this.key.privateKey));
    assert.ok(typeof choice === "object", `${this.name} on ${topic}: ${JSON.stringify(choice)}`);
    const { protection, epoch } = choice;
    const binding = { tenant, topic, sender: this.name, epoch };
    const options = choice.dated ? { sealedAtMs: this.#stage.nowMs } : {};
    return seal(protection, binding, await this.#counter.next(), Buffer.from(payload), options);
  }

  open(topic: string, sealed: Uint8Array): Opened | Refused {
    const rule = this.keyring.ruleFor(topic);
    const modes = rule === undefined ? [] : [rule.mode];
    return open(sealed, { tenant, topic }, this.keyring, { modes, guard: this.guard });
  }

  verdict(topic: string, sealed: Uint8Array): string {
    const result = this.open(topic, sealed);
    return result.kind === "opened" ? result.payload.toString() : result.code;
  }
}

function plant() {
  const stage = new Stage();
  const [boiler, panel, pump] = [
    stage.device("boiler"),
    stage.device("panel", "Ed25519"),
    stage.device("pump"),
  ];
  stage.group({ name: "telemetry", filters: ["plant/#"], mode: "encrypted", retained: true });
  stage.group({ name: "commands", filters: ["plant/+/cmd"], mode: "signed+encrypted", maxAgeSeconds: 300 });
  for (const device of [boiler, panel, pump]) stage.join("telemetry", device);
  stage.join("commands", panel, true);
  stage.join("commands", boiler);
  stage.publish();
  return { stage, boiler, panel, pump };
}

describe("the keys of groups", () => {
  it("reach each member, P-256 and Ed25519 certificates alike, and nobody else", async () => {
    const { boiler, panel, pump } = plant();
    const measured = await boiler.seal("plant/boiler/temperature", "80");
    assert.equal(panel.verdict("plant/boiler/temperature", measured), "80");
    assert.equal(pump.verdict("plant/boiler/temperature", measured), "80");
    const command = await panel.seal("plant/boiler/cmd", "off");
    assert.equal(boiler.verdict("plant/boiler/cmd", command), "off");
    assert.equal(pump.verdict("plant/boiler/cmd", command), "wrong-mode");
    assert.equal(pump.keyring.ruleFor("plant/boiler/cmd")?.name, "telemetry");
  });

  it("let only those sign who may, though all members can encrypt", async () => {
    const { boiler, panel } = plant();
    assert.equal(panel.verdict("plant/boiler/cmd", await boiler.seal("plant/boiler/cmd")), "unknown-sender");
  });

  it("are all that counts on its topics: what anybody encrypts to the certificate of a member is not taken", async () => {
    const { boiler, panel } = plant();
    const topic = "plant/boiler/temperature";
    const recipients = [recipientKey(panel.key.publicKey)];
    const position = { instance: Buffer.alloc(8, 0xee), sequence: 1 };
    for (const epoch of [0, 1, 3]) {
      const binding = { tenant, topic, sender: "boiler", epoch };
      const forged = seal({ mode: "encrypted", recipients }, binding, position, Buffer.from("999"));
      assert.equal(panel.verdict(topic, forged), "wrong-mode");
    }
    assert.equal(panel.verdict(topic, await boiler.seal(topic, "80")), "80");
  });

  it("are those of the group with the most exact filter", () => {
    const filters = ["#", "plant/#", "plant/+/cmd", "plant/boiler/+", "plant/boiler/cmd"];
    assert.deepEqual(
      filters.toSorted(compareExactness),
      [...filters].toReversed().toSorted(compareExactness),
    );
    assert.deepEqual(filters.toSorted(compareExactness), [
      "plant/boiler/cmd",
      "plant/boiler/+",
      "plant/+/cmd",
      "plant/#",
      "#",
    ]);
  });

  it("change with time: the new one is used from its time on, the old one opens for an hour more", async () => {
    const { stage, boiler, panel } = plant();
    const topic = "plant/boiler/temperature";
    const before = await boiler.seal(topic, "before");
    stage.nowMs += 86_400_000;
    assert.equal(
      stage.groups.every((group) => isRotationDue(group, stage.nowMs)),
      true,
    );
    stage.change("telemetry", (group) => rotated(group, { ...stage.chance, leadMs: 60_000 }));
    stage.publish();
    const stillOld = await boiler.seal(topic, "still old");
    stage.nowMs += 61_000;
    const withNew = await boiler.seal(topic, "with new");
    const epochs = [before, stillOld, withNew].map((sealed) => panel.open(topic, sealed));
    const [first, second, third] = epochs.map((each) => (each.kind === "opened" ? each.epoch : each.code));
    assert.ok(typeof first === "number" && first === second && third === first + 1);
    const late = await lateMessage();
    assert.equal(panel.verdict(topic, late), "expired-epoch");

    async function lateMessage(): Promise<Buffer> {
      stage.nowMs -= 61_000;
      const sealed = await boiler.seal(topic, "late");
      stage.nowMs += 61_000 + hourMs;
      return sealed;
    }
  });

  it("change at once when a member leaves: what it has opens nothing new, and what it seals opens nowhere", async () => {
    const { stage, boiler, panel, pump } = plant();
    const topic = "plant/boiler/temperature";
    stage.change("telemetry", (group) => withoutMember(group, "pump", stage.chance));
    stage.devices.delete("pump");
    stage.publish();
    const sealed = await boiler.seal(topic, "secret");
    assert.equal(panel.verdict(topic, sealed), "secret");
    assert.equal(pump.verdict(topic, sealed), "future-epoch");
    assert.equal(boiler.verdict(topic, await pump.seal(topic)), "expired-epoch");
    const last = stage.packageFor(pump);
    assert.equal(pump.keyring.update(last).kind, "updated");
    assert.deepEqual(pump.keyring.rules, []);
  });

  it("of before are not given to a new member", async () => {
    const { stage, boiler } = plant();
    const topic = "plant/boiler/temperature";
    const before = await boiler.seal(topic, "before");
    const late = stage.device("late");
    stage.join("telemetry", late);
    stage.publish();
    assert.equal(late.verdict(topic, before), "expired-epoch");
    assert.equal(late.verdict(topic, await boiler.seal(topic, "after")), "after");
  });

  it("are forgotten by the guard when no package has them any more, and not for the time that a clock shows", async () => {
    const { stage, boiler, panel } = plant();
    const topic = "plant/boiler/temperature";
    const sealed = await boiler.seal(topic, "once");
    assert.equal(panel.verdict(topic, sealed), "once");
    panel.guard.forget((epoch) => panel.keyring.isLive(epoch));
    assert.equal(panel.verdict(topic, sealed), "replayed");
    stage.change("telemetry", (group) => rotated(group, stage.chance));
    stage.publish();
    stage.nowMs += hourMs;
    assert.equal(panel.verdict(topic, sealed), "expired-epoch");
    panel.guard.forget((epoch) => panel.keyring.isLive(epoch));
    stage.nowMs -= hourMs;
    assert.equal(panel.verdict(topic, sealed), "replayed");
    stage.nowMs += hourMs;
    stage.publish();
    panel.guard.forget((epoch) => panel.keyring.isLive(epoch));
    assert.equal(panel.guard.size, 0);
    assert.equal(panel.verdict(topic, sealed), "expired-epoch");
  });
});

function update(device: TestDevice, bytes: Uint8Array): string {
  const result = device.keyring.update(bytes);
  return result.kind === "updated" ? "updated" : result.code;
}

describe("a key package", () => {
  it("is for one device of one tenant, signed by its authority, and never older than the one in use", () => {
    const { stage, boiler, panel } = plant();
    const old = stage.packageFor(boiler);
    const current = stage.packageFor(boiler);
    assert.equal(update(boiler, current), "updated");
    assert.equal(update(boiler, current), "updated");
    assert.equal(update(boiler, old), "stale");
    assert.equal(update(panel, current), "not-authentic");
    const other = new Stage();
    assert.equal(update(other.device("boiler"), current), "not-authentic");
    boiler.keyring.update(current);
    assert.equal(boiler.keyring.serial, stage.serial);
  });

  it("opens with no bit of it changed", () => {
    const { stage, pump } = plant();
    const sealed = stage.packageFor(pump);
    for (let byte = 0; byte < sealed.length; byte++) {
      const changed = Buffer.from(sealed);
      changed[byte] = (changed[byte] ?? 0) ^ (1 << (byte % 8));
      assert.equal(pump.keyring.update(changed).kind, "refused", `byte ${byte}`);
    }
  });

  it("for a key that the device does not have says so", () => {
    const { stage, boiler } = plant();
    const content = { tenant, device: "boiler", serial: 1_000, groups: [] };
    const recipient = recipientKey(testKey("P-256").publicKey);
    const sealed = sealKeyPackage(content, { recipient, authority: signingKey(stage.authority.privateKey) });
    const result = boiler.keyring.update(sealed);
    assert.ok(result.kind === "refused" && result.code === "not-a-recipient");
  });

  it("hides what is in it", () => {
    const { stage, boiler } = plant();
    const sealed = stage.packageFor(boiler);
    for (const group of stage.groups) {
      assert.equal(sealed.includes(group.name), false);
      assert.equal(sealed.includes(Buffer.from(group.epochs[0]?.secret ?? assert.fail())), false);
    }
    assert.equal(keyPackageTopic("boiler"), "$keys/boiler");
  });
});

describe("a group", () => {
  it("has a name, topic filters of devices' messages, and whole seconds", () => {
    const rule = {
      name: "a",
      filters: ["a/#"],
      mode: "encrypted",
      maxAgeSeconds: undefined,
      retained: false,
    } as const;
    assert.equal(groupProblem(rule), undefined);
    assert.match(groupProblem({ ...rule, name: "" }) ?? "", /not a name/);
    assert.match(groupProblem({ ...rule, filters: [] }) ?? "", /1 to 64 topic filters/);
    assert.match(groupProblem({ ...rule, filters: ["a#"] }) ?? "", /"a#" is not a topic filter/);
    assert.match(groupProblem({ ...rule, filters: ["$keys/#"] }) ?? "", /is not a topic filter/);
    assert.match(groupProblem({ ...rule, maxAgeSeconds: 0.5 }) ?? "", /whole number/);
  });
});
