import assert from "node:assert/strict";
import { createPrivateKey } from "node:crypto";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";

import { formatMacKeys } from "@postern/identity/payloads/group-keys-file";
import { readPolicyFile } from "@postern/identity/permissions/policy-file";
import { seal, type Protection } from "@postern/seal/envelope/seal";
import { GroupKey } from "@postern/seal/keys/group-key";
import { signingKey } from "@postern/seal/keys/signature";
import type { IClientOptions } from "mqtt";

import type { TestClient } from "./support/mqttjs.ts";
import { PermittedServer } from "./support/permitted-server.ts";
import { command } from "./support/postern.ts";

const group = GroupKey.of(Buffer.alloc(32, 7), 1);
const wrongGroup = GroupKey.of(Buffer.alloc(32, 8), 1);

const permissions = (payloads: string, more = ""): string => `${more}
payloads: ${payloads}
roles:
  device:
    rules:
      - topics: ["#"]
        allow: [publish, subscribe, will, retain, shared, persistentSession]
`;

const rules = permissions(`
  - topics: ["cmd/#"]
    require: signed
  - topics: ["meter/#"]
    require: mac
    macKeys: meters.json
  - topics: ["secret/#"]
    require: [encrypted, signed+encrypted]
    maxAgeSeconds: 60
  - topics: ["sum/#"]
    require: checksum`);

let server: PermittedServer;
before(async () => {
  server = await PermittedServer.start(permissions("[]"));
  writeMacKeys(group);
  for (const name of ["boiler", "pump", "watcher"]) await server.addDevice(name, ["device"]);
  await server.permit(rules);
});
after(() => server[Symbol.asyncDispose]());

function writeMacKeys(...keys: GroupKey[]): void {
  const path = join(server.directory.path, "meters.json");
  writeFileSync(path, formatMacKeys("meters", keys), { mode: 0o600 });
}

/** Seals as a device does, each message with the next number. */
class Sender {
  readonly name: string;
  readonly signing: Protection;
  readonly #instance = Buffer.from(`${Math.random()}`.slice(2, 10).padEnd(8, "0"));
  #sequence = 0;

  constructor(name: string) {
    this.name = name;
    this.signing = { mode: "signed", signing: signingKey(createPrivateKey(server.keyOf(name))) };
  }

  seal(topic: string, text: string, protection = this.signing, sender = this.name): Buffer {
    this.#sequence += 1;
    const position = { instance: this.#instance, sequence: this.#sequence };
    const epoch = "group" in protection && protection.group !== undefined ? protection.group.epoch : 0;
    const binding = { tenant: "default", topic, sender, epoch };
    return seal(protection, binding, position, Buffer.from(text), { sealedAtMs: Date.now() });
  }
}

/** The reason code of PUBACK or PUBREC. */
async function answerTo(
  client: TestClient,
  topic: string,
  payload: Buffer | string,
  options: Parameters<TestClient["publish"]>[2] = {},
): Promise<number> {
  try {
    await client.publish(topic, payload, options);
    return 0;
  } catch (thrown) {
    assert.ok(thrown instanceof Error && "code" in thrown && typeof thrown.code === "number", String(thrown));
    return thrown.code;
  }
}

async function watching(filter: string): Promise<TestClient> {
  const watcher = await server.connect("watcher", { clientId: `watcher-${Math.random()}` });
  await watcher.subscribe(filter);
  return watcher;
}

/** Options with a retained will on `cmd/will`. */
function leaving(payload: Buffer): IClientOptions {
  return { will: { topic: "cmd/will", payload, qos: 1, retain: true } };
}

describe("payload rules of a running server", () => {
  it("let through what is sealed as demanded, in every QoS and of MQTT 3.1.1 too, and hand it on as it was sealed", async () => {
    const boiler = new Sender("boiler");
    await using watcher = await watching("cmd/#");
    for (const protocolVersion of [4, 5] as const) {
      await using client = await server.connect("boiler", { protocolVersion });
      for (const qos of [0, 1, 2] as const) {
        const payload = boiler.seal("cmd/a", `${protocolVersion} ${qos}`);
        await client.publish("cmd/a", payload, { qos });
        assert.equal((await watcher.next()).text, payload.toString());
      }
    }
    assert.equal(await answerTo(watcher, "free/topic", "plain"), 0);
  });

  it("refuse plain text with 0x99 in MQTT 5, acknowledge it in MQTT 3.1.1, and never pass it on (attack 69)", async () => {
    await using watcher = await watching("#");
    const before = (await server.status()).counters;
    for (const topic of ["cmd/a", "meter/a", "secret/a", "sum/a"]) {
      await using client = await server.connect("pump");
      for (const qos of [1, 2] as const) assert.equal(await answerTo(client, topic, "plain", { qos }), 0x99);
      await client.publish(topic, "plain", { qos: 0 });
      await using old = await server.connect("pump", { protocolVersion: 4 });
      for (const qos of [1, 2] as const) assert.equal(await answerTo(old, topic, "plain", { qos }), 0);
    }
    await watcher.assertNothingMore();
    const { counters } = await server.status();
    assert.equal(Number(counters.payloadsRefused) - Number(before.payloadsRefused), 20);
    const refused = server.audited("publish-refused").map(({ detail }) => detail);
    assert.ok(
      refused.includes("secret/a: its payload: not-sealed: it does not begin like a sealed payload"),
      JSON.stringify(refused),
    );
  });

  it("refuse with 0x87 what a member seals as another, with another key, or for another topic (attacks 67 and 71)", async () => {
    const pump = new Sender("pump");
    const boiler = new Sender("boiler");
    await using watcher = await watching("#");
    await using client = await server.connect("pump");
    const forgeries: readonly (readonly [string, Buffer])[] = [
      ["cmd/a", pump.seal("cmd/a", "x", pump.signing, "boiler")],
      ["cmd/a", boiler.seal("cmd/a", "x")],
      ["cmd/a", boiler.seal("cmd/a", "x", boiler.signing, "pump")],
      ["cmd/b", pump.seal("cmd/a", "x")],
      ["meter/a", pump.seal("meter/a", "x", { mode: "mac", group }, "boiler")],
      ["meter/a", pump.seal("meter/a", "x", { mode: "mac", group: wrongGroup })],
      ["secret/a", pump.seal("secret/a", "x", { mode: "encrypted", group }, "boiler")],
    ];
    for (const [topic, payload] of forgeries) assert.equal(await answerTo(client, topic, payload), 0x87);
    const altered = pump.seal("cmd/a", "open the valve");
    altered[altered.indexOf("valve")] = 0x58;
    assert.equal(await answerTo(client, "cmd/a", altered), 0x87);
    await watcher.assertNothingMore();
  });

  it("accept each message once, also after a restart, and acknowledge one that is sent again (attack 68)", async () => {
    const boiler = new Sender("boiler");
    const payload = boiler.seal("cmd/once", "open");
    const quick = boiler.seal("cmd/once", "quick");
    const watcher = await watching("cmd/once");
    const client = await server.connect("boiler");
    assert.equal(await answerTo(client, "cmd/once", payload), 0);
    await client.publish("cmd/once", quick, { qos: 0 });
    assert.deepEqual((await watcher.texts(2)).length, 2);
    assert.equal(await answerTo(client, "cmd/once", payload), 0x87);
    assert.equal(await answerTo(client, "cmd/once", payload, { dup: true }), 0);
    await watcher.assertNothingMore();
    await client.end();
    await watcher.end();
    await server.restart();
    await using again = await server.connect("boiler");
    await using seeing = await watching("cmd/once");
    assert.equal(await answerTo(again, "cmd/once", payload), 0x87);
    assert.equal(await answerTo(again, "cmd/once", quick), 0x87);
    assert.equal(await answerTo(again, "cmd/once", boiler.seal("cmd/once", "new")), 0);
    assert.match((await seeing.next()).text, /new/);
  });

  it("let a group's encrypted messages through without a key, by structure, sender and time", async () => {
    const boiler = new Sender("boiler");
    await using watcher = await watching("secret/#");
    await using client = await server.connect("boiler");
    const payload = boiler.seal("secret/a", "21.5", { mode: "encrypted", group });
    assert.equal(await answerTo(client, "secret/a", payload), 0);
    assert.equal((await watcher.next()).text, payload.toString());
    assert.equal(await answerTo(client, "secret/a", payload), 0x87);
  });

  it("hold wills and retained messages to the same rules", async () => {
    const boiler = new Sender("boiler");
    await assert.rejects(server.connect("boiler", leaving(Buffer.from("gone"))), { code: 0x99 });
    await assert.rejects(server.connect("boiler", { protocolVersion: 4, ...leaving(Buffer.from("gone")) }), {
      code: 5,
    });
    await assert.rejects(server.connect("boiler", leaving(new Sender("pump").seal("cmd/will", "gone"))), {
      code: 0x87,
    });
    const last = boiler.seal("cmd/will", "gone");
    const leaver = await server.connect("boiler", leaving(last));
    await using watcher = await watching("cmd/will");
    await leaver.cut();
    assert.equal((await watcher.next()).text, last.toString());
    await using late = await watching("cmd/will");
    assert.equal((await late.next()).retain, true);
    await using client = await server.connect("boiler");
    assert.equal(await answerTo(client, "cmd/will", "", { retain: true }), 0);
    await watcher.assertNothingMore();
    await using later = await watching("cmd/will");
    await later.assertNothingMore();
  });

  it("are reloaded with the file and with the keys, also for retained messages and wills that are there", async () => {
    const pump = new Sender("pump");
    await using client = await server.connect("pump");
    const leaver = await server.connect("pump", {
      clientId: "unsealed",
      will: { topic: "new/will", payload: Buffer.from("plain"), qos: 1, retain: false },
    });
    assert.equal(await answerTo(client, "new/a", "plain", { retain: true }), 0);
    await server.permit(rules.replace('["cmd/#"]', '["cmd/#", "new/#"]'));
    assert.equal(await answerTo(client, "new/a", "plain"), 0x99);
    assert.equal(await answerTo(client, "new/a", pump.seal("new/a", "signed")), 0);
    await leaver.cut();
    await server.until(
      () =>
        server.audited("publish-refused").some(({ detail = "" }) => detail.startsWith("will on new/will")),
      "the will to be refused",
    );
    await using watcher = await watching("new/#");
    await watcher.assertNothingMore();
    const loaded = server.audited("permissions-loaded").length;
    const next = GroupKey.of(Buffer.alloc(32, 9), 2);
    const payload = (): Buffer => pump.seal("meter/a", "kWh", { mode: "mac", group: next });
    assert.equal(await answerTo(client, "meter/a", payload()), 0x87);
    writeMacKeys(group, next);
    await server.until(() => server.audited("permissions-loaded").length > loaded, "the keys to be read");
    assert.equal(await answerTo(client, "meter/a", payload()), 0);
  });

  it("end the connection of who breaks them where the file says so", async () => {
    await server.permit(rules.replace("\npayloads", "refusedPublish: disconnect\npayloads"));
    await using client = await server.connect("pump");
    // Never answered: the connection ends instead.
    client.publish("cmd/a", "plain").catch(() => {});
    assert.equal(await client.disconnected(), 0x99);
    await server.permit(rules);
  });

  it("are shown by permissions explain, and a file with wrong ones cannot be used", async () => {
    const data = server.directory.path;
    const { stdout } = await command([
      "permissions",
      "explain",
      "pump",
      "publish",
      "secret/a",
      "--data",
      data,
    ]);
    assert.match(
      stdout,
      /:\d+: payloads on secret\/# must be encrypted or signed\+encrypted, at most 60 s old\n/,
    );
    const file = join(server.directory.path, "other.yaml");
    const wrong: readonly (readonly [string, RegExp])[] = [
      [`[{ topics: [a], require: sealed }]`, /must be none, checksum, mac, signed/],
      [`[{ topics: ["a/#/b"], require: mac }]`, /must be a topic filter/],
      [`[{ topics: [a], require: signed, macKeys: meters.json }]`, /must require mac where it names macKeys/],
      [`[{ topics: [a], require: mac, macKeys: nothing.json }]`, /nothing\.json.*there is no such file/],
      [`[{ topics: [a], require: none, maxAgeSeconds: 1 }]`, /nothing beside topics/],
    ];
    for (const [payloads, message] of wrong) {
      writeFileSync(file, permissions(payloads));
      assert.throws(() => readPolicyFile(file, "other.yaml"), { code: "PERMISSIONS_INVALID", message });
    }
  });
});
