import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";

import type { IClientOptions } from "mqtt";

import { configured, plainAnonymous } from "./support/configurations.ts";
import { interopServer, type InteropServer } from "./support/interop-server.ts";
import { TestClient } from "./support/mqttjs.ts";
import { firstBundle, scratch, up } from "./support/postern.ts";

let server: InteropServer;
let plain: string;
let transports: readonly (readonly [url: string, options: IClientOptions])[];

before(async () => {
  server = await interopServer();
  plain = server.url;
  const { ca, certificate, key } = firstBundle(server.data);
  const device = { ca, cert: certificate, key };
  transports = [
    [server.url, {}],
    [server.webSocketUrl, {}],
    [server.tlsUrl, device],
    [server.secureWebSocketUrl, device],
  ];
});
after(() => server[Symbol.asyncDispose]());

const versions = [
  { name: "3.1", options: { protocolVersion: 3, protocolId: "MQIsdp" } },
  { name: "3.1.1", options: { protocolVersion: 4 } },
  { name: "5.0", options: { protocolVersion: 5 } },
] as const;

let clientCount = 0;

/** A client id of its own, short enough for MQTT 3.1. */
function freshId(): string {
  clientCount++;
  return `interop-${clientCount}`;
}

describe("MQTT.js with our broker", { concurrency: 8 }, () => {
  for (const { name, options } of versions) {
    it(`exchanges messages of every QoS in MQTT ${name} over TCP, TLS and WebSocket`, async () => {
      const clients = await Promise.all(
        transports.map(([url, own]) => TestClient.connect(url, { ...options, ...own, clientId: freshId() })),
      );
      const topics = clients.map((_, index) => `transport/${name}/${index}`);
      for (const [index, client] of clients.entries()) {
        const grants = await client.subscribe(`transport/${name}/+`, { qos: 2 });
        assert.equal(grants[0]?.qos, 2, topics[index]);
      }
      for (const qos of [0, 1, 2] as const) {
        for (const [index, client] of clients.entries()) {
          await client.publish(topics[index] ?? "", `${qos} from ${index}`, { qos });
          for (const receiver of clients) {
            const { topic, text, ...rest } = await receiver.next();
            assert.deepEqual([topic, text, rest.qos], [topics[index], `${qos} from ${index}`, qos]);
            assert.ok(!rest.retain && !rest.dup);
          }
        }
      }
      for (const client of clients) await client.end();
    });

    it(`delivers at the lower of the two QoS, in order, each once, in MQTT ${name} (4.6, 3.8.4)`, async () => {
      await using publisher = await TestClient.connect(plain, { ...options, clientId: freshId() });
      const expected = Array.from({ length: 200 }, (_, index) => `${index}`);
      for (const granted of [0, 1, 2] as const) {
        for (const sent of [0, 1, 2] as const) {
          const topic = `order/${name}/${granted}/${sent}`;
          await using subscriber = await TestClient.connect(plain, { ...options, clientId: freshId() });
          await subscriber.subscribe(topic, { qos: granted });
          await Promise.all(expected.map((text) => publisher.publish(topic, text, { qos: sent })));
          const first = await subscriber.next();
          assert.equal(first.qos, Math.min(granted, sent));
          assert.deepEqual([first.text, ...(await subscriber.texts(expected.length - 1))], expected);
          await subscriber.assertNothingMore();
        }
      }
    });

    it(`retains the last message of a topic until an empty one clears it, in MQTT ${name} (3.3.1.3)`, async () => {
      await using publisher = await TestClient.connect(plain, { ...options, clientId: freshId() });
      const topic = `retained/${name}/a`;
      await publisher.publish(topic, "old", { retain: true });
      await publisher.publish(topic, "new", { retain: true });
      await publisher.publish(`retained/${name}/b`, "not retained");
      await using live = await TestClient.connect(plain, { ...options, clientId: freshId() });
      await live.subscribe(`retained/${name}/#`);
      const kept = await live.next();
      assert.deepEqual([kept.topic, kept.text, kept.retain], [topic, "new", true]);
      await publisher.publish(topic, "", { retain: true });
      const cleared = await live.next();
      assert.deepEqual([cleared.text, cleared.retain], ["", false]);
      await using late = await TestClient.connect(plain, { ...options, clientId: freshId() });
      await late.subscribe(`retained/${name}/#`);
      await late.assertNothingMore();
    });

    it(`publishes the will of a client that vanishes, not of one that says goodbye, in MQTT ${name} (3.1.2.5)`, async () => {
      const topic = `will/${name}`;
      await using watcher = await TestClient.connect(plain, { ...options, clientId: freshId() });
      await watcher.subscribe(topic);
      const will = (text: string) => ({ topic, payload: Buffer.from(text), qos: 1, retain: true }) as const;
      const polite = await TestClient.connect(plain, {
        ...options,
        clientId: freshId(),
        will: will("polite"),
      });
      await polite.end();
      const gone = await TestClient.connect(plain, { ...options, clientId: freshId(), will: will("gone") });
      await gone.cut();
      const message = await watcher.next();
      assert.deepEqual([message.text, message.qos, message.retain], ["gone", 1, false]);
      await using late = await TestClient.connect(plain, { ...options, clientId: freshId() });
      await late.subscribe(topic);
      assert.deepEqual(await late.texts(1), ["gone"], "the will was retained");
      await late.publish(topic, "", { retain: true });
    });

    it(`keeps a session and what comes meanwhile, until a clean one takes its place, in MQTT ${name} (3.1.2.4)`, async () => {
      const topic = `session/${name}`;
      const properties = options.protocolVersion === 5 ? { properties: { sessionExpiryInterval: 60 } } : {};
      const kept = { ...options, ...properties, clientId: freshId(), clean: false };
      await using publisher = await TestClient.connect(plain, { ...options, clientId: freshId() });
      {
        await using first = await TestClient.connect(plain, kept);
        assert.equal(first.connack.sessionPresent, false);
        await first.subscribe(topic, { qos: 1 });
      }
      for (const [text, qos] of [
        ["1", 1],
        ["lost", 0],
        ["2", 2],
        ["3", 1],
      ] as const) {
        await publisher.publish(topic, text, { qos });
      }
      {
        await using second = await TestClient.connect(plain, kept);
        // MQTT 3.1 has no session present flag.
        if (options.protocolVersion > 3) assert.equal(second.connack.sessionPresent, true);
        assert.deepEqual(await second.texts(3), ["1", "2", "3"]);
      }
      {
        await using clean = await TestClient.connect(plain, { ...kept, clean: true });
        assert.equal(clean.connack.sessionPresent, false);
        await publisher.publish(topic, "4");
        await clean.assertNothingMore();
      }
      if (options.protocolVersion === 5) return;
      await using last = await TestClient.connect(plain, kept);
      assert.equal(last.connack.sessionPresent, false, "a clean session leaves nothing behind");
    });

    it(`delivers again what was not acknowledged when the connection broke, in MQTT ${name} (4.4)`, async () => {
      const topic = `again/${name}`;
      const properties = options.protocolVersion === 5 ? { properties: { sessionExpiryInterval: 60 } } : {};
      const kept = { ...options, ...properties, clientId: freshId(), clean: false, reconnectPeriod: 20 };
      await using publisher = await TestClient.connect(plain, { ...options, clientId: freshId() });
      await using subscriber = await TestClient.connect(plain, kept);
      await subscriber.subscribe(topic, { qos: 2 });

      // QoS 1: the connection breaks before the PUBACK.
      subscriber.client.once("packetreceive", () => subscriber.client.stream.destroy());
      await publisher.publish(topic, "one", { qos: 1 });
      await subscriber.until(() => subscriber.count("publish") >= 2, "the second PUBLISH");
      const repeated = subscriber.packets.filter((packet) => packet.cmd === "publish");
      assert.deepEqual(
        repeated.map(({ dup }) => dup),
        [false, true],
      );
      assert.equal(new Set(repeated.map(({ messageId }) => messageId)).size, 1);
      assert.equal((await subscriber.next()).text, "one");
      // MQTT.js handed over the first one before it noticed.
      assert.equal((await subscriber.next()).text, "one");

      // QoS 2: the connection breaks before PUBREC, then before PUBCOMP; it is one message all the same.
      for (const [index, cmd] of (["publish", "pubrel"] as const).entries()) {
        const cut = (packet: { readonly cmd: string }) => {
          if (packet.cmd !== cmd) return;
          subscriber.client.off("packetreceive", cut);
          subscriber.client.stream.destroy();
        };
        const connected = subscriber.count("connack");
        subscriber.client.on("packetreceive", cut);
        await publisher.publish(topic, `two ${index}`, { qos: 2 });
        assert.equal((await subscriber.next()).text, `two ${index}`);
        await subscriber.until(() => subscriber.count("connack") > connected, "the connection");
      }
      await subscriber.assertNothingMore();
    });

    it(`takes a message once that a publisher sends again after a broken connection, in MQTT ${name} (4.3.3)`, async () => {
      const topic = `once/${name}`;
      const properties = options.protocolVersion === 5 ? { properties: { sessionExpiryInterval: 60 } } : {};
      const kept = { ...options, ...properties, clientId: freshId(), clean: false, reconnectPeriod: 20 };
      await using subscriber = await TestClient.connect(plain, { ...options, clientId: freshId() });
      await subscriber.subscribe(topic, { qos: 2 });
      await using publisher = await TestClient.connect(plain, kept);
      for (const cmd of ["pubrec", "pubcomp"] as const) {
        const cut = (packet: { readonly cmd: string }) => {
          if (packet.cmd !== cmd) return;
          publisher.client.off("packetreceive", cut);
          publisher.client.stream.destroy();
        };
        const connected = publisher.count("connack");
        publisher.client.on("packetreceive", cut);
        await publisher.publish(topic, cmd, { qos: 2 });
        await publisher.until(() => publisher.count("connack") > connected, "the connection");
        assert.equal((await subscriber.next()).text, cmd);
      }
      await subscriber.assertNothingMore();
    });

    it(`sends one copy for overlapping subscriptions, at the highest QoS, in MQTT ${name} (3.3.4)`, async () => {
      await using client = await TestClient.connect(plain, { ...options, clientId: freshId() });
      await client.subscribe(`overlap/${name}/#`, { qos: 0 });
      await client.subscribe(`overlap/${name}/+`, { qos: 2 });
      await client.subscribe(`overlap/${name}/a`, { qos: 1 });
      await client.publish(`overlap/${name}/a`, "x", { qos: 2 });
      assert.equal((await client.next()).qos, 2);
      await client.assertNothingMore();
    });

    it(`ends the older of two connections with one client id, in MQTT ${name} (3.1.4)`, async () => {
      const clientId = freshId();
      await using first = await TestClient.connect(plain, { ...options, clientId });
      await using second = await TestClient.connect(plain, { ...options, clientId });
      if (options.protocolVersion === 5) assert.equal(await first.disconnected(), 0x8e);
      await first.until(() => !first.client.connected, "the end of the first connection");
      await second.assertNothingMore();
    });

    it(`matches wildcards and keeps $ topics from leading ones, in MQTT ${name} (4.7)`, async () => {
      await using client = await TestClient.connect(plain, { ...options, clientId: freshId() });
      await client.subscribe([`wild/${name}/+/end`, `wild/${name}/deep/#`, "#"], { qos: 0 });
      const topics = ["a/end", "/end", "deep", "deep/1/2", "a/b/end"].map((tail) => `wild/${name}/${tail}`);
      for (const topic of topics) await client.publish(topic, "x");
      const received: string[] = [];
      while (received.length < topics.length) {
        const { topic } = await client.next();
        if (topic.startsWith(`wild/${name}/`)) received.push(topic);
        assert.ok(!topic.startsWith("$"), topic);
      }
      assert.deepEqual(received, topics);
    });
  }

  it("carries messages between clients of all versions, properties among those of MQTT 5 only", async () => {
    const clients = await Promise.all(
      versions.map(({ options }) => TestClient.connect(plain, { ...options, clientId: freshId() })),
    );
    for (const client of clients) await client.subscribe("versions/#", { qos: 2 });
    for (const [index, client] of clients.entries()) {
      const isVersion5 = client.client.options.protocolVersion === 5;
      const properties = { contentType: "text/plain" };
      await client.publish(`versions/${index}`, `${index}`, {
        qos: 2,
        ...(isVersion5 ? { properties } : {}),
      });
      for (const receiver of clients) {
        const { text, properties: received } = await receiver.next();
        assert.equal(text, `${index}`);
        const carriesProperties = isVersion5 && receiver === client;
        assert.equal(received.contentType, carriesProperties ? "text/plain" : undefined);
      }
    }
    for (const client of clients) await client.end();
  });

  it("answers a refused subscription with 0x80 before MQTT 5 (3.1.1 3.9.3)", async () => {
    await using client = await TestClient.connect(plain, { protocolVersion: 4, clientId: freshId() });
    await assert.rejects(client.subscribe(["refused/a", "$SYS/#"]), /Subscribe error/);
    const suback = client.packets.find((packet) => packet.cmd === "suback");
    assert.deepEqual(suback?.granted, [2, 0x80]);
  });

  it("stores sessions where the next start finds them, and says goodbye with 0x8B", async () => {
    using own = scratch();
    const args = configured(own.path, plainAnonymous);
    const kept = { clientId: freshId(), clean: false, properties: { sessionExpiryInterval: 600 } };
    {
      await using first = await up(args);
      await using client = await TestClient.connect(first.urls[0] ?? "", kept);
      await client.subscribe("kept/#", { qos: 2 });
      await using publisher = await TestClient.connect(first.urls[0] ?? "");
      await client.end();
      await publisher.publish("kept/a", "1", { qos: 1, properties: { contentType: "text/plain" } });
      await publisher.publish("kept/b", "2", { retain: true });
      first.process.signal("SIGTERM");
      assert.equal(await publisher.disconnected(), 0x8b);
      assert.equal((await first.process.ended).code, 0);
    }
    await using second = await up(args);
    await using client = await TestClient.connect(second.urls[0] ?? "", kept);
    assert.equal(client.connack.sessionPresent, true);
    const { text, properties } = await client.next();
    assert.deepEqual([text, properties.contentType], ["1", "text/plain"]);
    assert.deepEqual(await client.texts(1), ["2"]);
    await client.assertNothingMore();
  });
});
