import assert from "node:assert/strict";
import { createPublicKey, randomBytes, verify, X509Certificate } from "node:crypto";
import { readFileSync, statSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { after, before, describe, it } from "node:test";
import { setTimeout as delay } from "node:timers/promises";

import { connect } from "@postern/device/index";
import { brokerKeyContext } from "@postern/identity/payloads/broker-key";
import { parseGroupKeys, type SealingKey } from "@postern/identity/payloads/group-keys-file";
import { sealConnectPassword } from "@postern/seal/envelope/connect-password";
import { open } from "@postern/seal/envelope/open";
import { seal } from "@postern/seal/envelope/seal";
import { GroupKey } from "@postern/seal/keys/group-key";
import { recipientKey, type RecipientKey } from "@postern/seal/keys/recipient";
import { z } from "zod";

import { lasting, TestClient } from "./support/mqttjs.ts";
import { PermittedServer } from "./support/permitted-server.ts";
import { command } from "./support/postern.ts";

const configuration = `
listeners:
  - url: mqtts://127.0.0.1:0
  - url: mqtt://127.0.0.1:0
    sealedPasswords: true
metrics: { url: off }
log: { level: error }
`;

const permissions = `
payloads:
  - topics: ["field/#"]
    require: encrypted
    deliver: plain
  - topics: ["group/#"]
    require: encrypted
    deliver: sealed
    groupKeys: group.json
  - topics: ["plant/#"]
    require: encrypted
    deliver: sealed
    groupKeys: plant.json
roles:
  device:
    rules:
      - topics: ["#", "$keys/#"]
        allow: [publish, subscribe, will, retain, shared, persistentSession]
`;

const group = GroupKey.of(Buffer.alloc(32, 7), 4);
const groupFile = JSON.stringify({
  postern: 1,
  groupKeys: [
    { epoch: 3, key: Buffer.alloc(32, 6).toString("base64") },
    { epoch: 4, key: Buffer.alloc(32, 7).toString("base64") },
  ],
});

const instance = randomBytes(8);
let lastSequence = 0;

let server: PermittedServer;
let brokerKey: RecipientKey;
let password: string;
before(async () => {
  server = await PermittedServer.start("roles: {}", configuration);
  writeFileSync(join(server.directory.path, "group.json"), groupFile, { mode: 0o600 });
  await keys("create", "plant", "--topics", "plant/#");
  await keys("group-keys", "plant", "--file", join("data", "plant.json"));
  await server.permit(permissions);
  await server.addDevice("console", ["device"]);
  const bundle = await server.addPasswordDevice("meter", ["device"]);
  assert.ok(bundle.brokerKey !== undefined && bundle.password !== undefined);
  ({ password } = bundle);
  brokerKey = recipientKey(
    createPublicKey({ key: Buffer.from(bundle.brokerKey, "base64"), format: "der", type: "spki" }),
  );
  // What was sealed in the second in which the server started is not accepted.
  await delay(1_100);
});
after(() => server[Symbol.asyncDispose]());

/** Runs `postern keys group` beside the server's data. */
async function keys(...words: readonly string[]): Promise<void> {
  const ended = await command(["keys", "group", ...words], { cwd: dirname(server.directory.path) });
  assert.equal(ended.code, 0, ended.stderr);
}

function nextPosition() {
  lastSequence += 1;
  return { instance, sequence: lastSequence };
}

function sealedPassword(clientId: string, text = password): Buffer {
  const options = { brokerKey, position: nextPosition(), nowMs: Date.now() };
  return sealConnectPassword(Buffer.from(text), { clientId, username: "meter" }, options);
}

function payload(topic: string, text: string): Buffer {
  const binding = { tenant: "default", topic, sender: "meter", epoch: 0 };
  return seal({ mode: "encrypted", recipients: [brokerKey] }, binding, nextPosition(), Buffer.from(text), {
    sealedAtMs: Date.now(),
  });
}

/** Connects in plain text with a password that is sealed. */
function inPlain(options: Parameters<typeof TestClient.connect>[1] = {}): Promise<TestClient> {
  const clientId = options.clientId ?? `meter-${lastSequence}`;
  const credentials = { username: "meter", password: sealedPassword(clientId) };
  return TestClient.connect(server.plainUrl, { ...credentials, ...options, clientId });
}

describe("devices without TLS", () => {
  it("connect with a password that is encrypted to the server, in MQTT 3.1.1 and 5", async () => {
    for (const protocolVersion of [4, 5] as const) {
      await using client = await inPlain({ protocolVersion });
      await client.end();
    }
    assert.ok(
      server.audited("connected").some(({ detail }) => detail?.endsWith("by sealed password") === true),
    );
  });

  it("are refused with a plain password, a wrong one, another's, and one that was used before", async () => {
    const clientId = "replayed";
    const captured = sealedPassword(clientId);
    const first = await inPlain({ clientId, password: captured });
    await first.end();
    const attempts = {
      plain: { password: Buffer.from(password) },
      wrong: { clientId, password: sealedPassword(clientId, "wrong") },
      replayed: { clientId, password: captured },
      elsewhere: { clientId: "other", password: sealedPassword(clientId) },
      "another user": { clientId, username: "console", password: sealedPassword(clientId) },
    };
    for (const [name, options] of Object.entries(attempts))
      await assert.rejects(inPlain(options), { code: 0x86 }, name);
    await using honest = await inPlain({ clientId });
    await honest.end();
  });

  it("publish payloads that the server opens: for subscribers over TLS, and for nobody else", async () => {
    await using secure = await server.connect("console", { clientId: "secure" });
    await secure.subscribe(["field/#", "open"]);
    await using plain = await inPlain();
    await plain.subscribe(["field/#", "open"]);
    await using shared = await inPlain();
    await shared.subscribe("$share/g/field/#");
    await using client = await inPlain();
    for (const qos of [0, 1, 2] as const) {
      await client.publish("field/t", payload("field/t", `21.${qos}`), { qos, retain: qos === 1 });
      assert.equal((await secure.next()).text, `21.${qos}`);
    }
    await client.publish("open", "end");
    assert.equal((await secure.next()).text, "end");
    assert.equal((await plain.next()).text, "end");
    await shared.assertNothingMore();
    await assert.rejects(client.publish("field/t", "plain"), { code: 0x99 });
    await plain.client.unsubscribeAsync("field/#");
    await plain.subscribe("field/#");
    await plain.assertNothingMore();
    await secure.client.unsubscribeAsync("field/#");
    await secure.subscribe("field/#");
    const retained = await secure.next();
    assert.deepEqual([retained.text, retained.retain], ["21.1", true]);
    assert.ok(Number((await server.status()).counters.payloadsWithheld) >= 3);
  });

  it("are not sent in plain text what waited for them either", async () => {
    const options = lasting(60);
    const away = await inPlain(options);
    await away.subscribe(["field/#", "open"]);
    await away.end();
    await using client = await inPlain();
    await client.publish("field/t", payload("field/t", "secret"));
    await client.publish("open", "not secret");
    await using back = await inPlain(options);
    assert.equal((await back.next()).text, "not secret");
    await back.assertNothingMore();
  });

  it("reach the members of a group, for whom the server seals anew", async () => {
    await using client = await inPlain();
    await client.subscribe("group/#");
    await client.publish("group/t", payload("group/t", "3.2"));
    const message = await new Promise<Buffer>((resolve) => {
      client.client.on("message", (_topic, bytes) => resolve(bytes));
      client.publish("group/t", payload("group/t", "3.3")).catch(() => {});
    });
    const place = { tenant: "default", topic: "group/t" };
    const opened = open(message, place, { groupKey: () => group }, { modes: ["encrypted"] });
    assert.ok(opened.kind === "opened", JSON.stringify(opened));
    assert.deepEqual([opened.sender, opened.epoch], ["meter", 4]);
    assert.match(Buffer.from(opened.payload).toString(), /^3\.[23]$/);
  });

  it("reach members with keys that commands give to both, none before its time, and none that somebody has who was removed", async () => {
    const bundles = join(server.directory.path, "bundles");
    for (const name of ["panel", "spare"]) {
      const added = await command(["device", "add", name, "--data", server.directory.path]);
      assert.equal(added.code, 0, added.stderr);
    }
    const file = join(server.directory.path, "plant.json");
    const loaded = (): number => server.audited("permissions-loaded").length;
    const change = async (...words: readonly string[]): Promise<void> => {
      const before = loaded();
      await keys(...words);
      await server.until(() => loaded() > before, "the server to read the keys");
    };
    const publisher = ["--bundle", join(bundles, "panel.json")];
    await change("members", "plant", "--add", "panel", "--add", "spare", "--data", "data", ...publisher);
    await change("members", "plant", "--remove", "spare");
    assert.equal(statSync(file).mode & 0o777, 0o600);

    await using panel = await connect(join(bundles, "panel.json"), { sessionExpirySeconds: 0 });
    const messages = panel.subscribe("plant/#");
    await messages.ready;
    await using client = await inPlain();
    const send = async (text: string): Promise<void> => {
      await client.publish("plant/t", payload("plant/t", text));
      const { value } = await messages.next();
      assert.deepEqual([value?.text(), value?.sealed?.sender], [text, "meter"]);
    };
    const epochs = (): readonly SealingKey[] => {
      const found = parseGroupKeys(readFileSync(file, "utf8"));
      return typeof found === "object" ? found : assert.fail(found);
    };
    await send("3.4");
    const [former] = epochs();
    const nowMs = Date.now();
    await change("rotate", "plant");
    const [next, current] = epochs();
    assert.equal(current?.key.epoch, former?.key.epoch);
    assert.ok(
      (next?.notBeforeMs ?? 0) >= nowMs + 10_000,
      "members have a key before the server seals with it",
    );
    await send("3.5");
    await change("members", "plant", "--add", "spare", "--data", "data");
    await change("members", "plant", "--remove", "spare");
    // What was sealed with an older key would open no more.
    await send("3.6");
    assert.equal(epochs().length, 1);
  });

  it("find the server's key signed by its authority, the same after a restart, which ends captured passwords", async () => {
    const { pki } = server.directory;
    assert.equal(statSync(join(pki, "broker.key")).mode & 0o777, 0o600);
    const text = readFileSync(join(pki, "broker-key.json"), "utf8");
    const published = z
      .object({ brokerKey: z.base64(), signature: z.base64(), certificate: z.string() })
      .parse(JSON.parse(text));
    const issuing = new X509Certificate(published.certificate);
    const root = new X509Certificate(readFileSync(join(pki, "root.crt")));
    assert.ok(issuing.verify(root.publicKey));
    const spki = Buffer.from(published.brokerKey, "base64");
    const signed = Buffer.concat([Buffer.from(brokerKeyContext), spki]);
    assert.ok(verify("sha256", signed, issuing.publicKey, Buffer.from(published.signature, "base64")));
    const captured = sealedPassword("captured");
    const used = await inPlain({ clientId: "captured", password: captured });
    await used.end();
    await server.restart();
    assert.equal(readFileSync(join(pki, "broker-key.json"), "utf8"), text);
    await assert.rejects(inPlain({ clientId: "captured", password: captured }), { code: 0x86 });
    await delay(1_100);
    await using honest = await inPlain();
    await honest.end();
  });
});
