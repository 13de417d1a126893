import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { setTimeout as delay } from "node:timers/promises";

import type { IClientOptions, Packet } from "mqtt";

import { TestClient, lasting, withholding } from "./support/mqttjs.ts";
import { interopServer, type InteropServer } from "./support/interop-server.ts";

let server: InteropServer;
/** Listeners with the default limits and with small ones. */
let url: string;
let smallUrl: string;

before(async () => {
  server = await interopServer();
  ({ url, smallUrl } = server);
});
after(() => server[Symbol.asyncDispose]());

function withWill(topic: string, session: IClientOptions, willDelayInterval: number): IClientOptions {
  const properties = { willDelayInterval, contentType: "text/x-will", userProperties: { a: "b" } };
  return { ...session, will: { topic, payload: Buffer.from(topic), qos: 1, properties } };
}

describe("MQTT.js with our broker, in MQTT 5.0", { concurrency: 10 }, () => {
  describe("flow control", { concurrency: 10 }, () => {
    it("keeps the client's receive maximum, also for a queue that waited (3.1.2.11.3, 4.9)", async () => {
      const { properties, ...session } = lasting(60);
      const options = { ...session, properties: { ...properties, receiveMaximum: 3 } };
      await using publisher = await TestClient.connect(url);
      const first = await TestClient.connect(url, { ...options, ...withholding });
      await first.subscribe("flow", { qos: 2 });
      const expected = Array.from({ length: 10 }, (_, index) => `${index}`);
      for (const text of expected) await publisher.publish("flow", text, { qos: 1 });
      await first.until(() => first.count("publish") === 3, "three messages");
      await publisher.publish("flow", "no acknowledgement needed", { qos: 0 });
      await first.until(() => first.count("publish") === 4, "a message with QoS 0");
      assert.equal(first.packets.filter((packet) => packet.cmd === "publish" && packet.qos === 1).length, 3);
      await first.cut();

      const second = await TestClient.connect(url, { ...options, ...withholding });
      await second.until(() => second.count("publish") === 3, "three messages again");
      await delay(100);
      assert.equal(second.count("publish"), 3);
      await second.cut();

      await using third = await TestClient.connect(url, options);
      assert.deepEqual(await third.texts(10), expected);
      await third.assertNothingMore();
    });

    it("ends the connection of a client beyond the server's receive maximum with 0x93 (3.3.4)", async () => {
      await using client = await TestClient.connect(smallUrl);
      assert.equal(client.connack.properties?.receiveMaximum, 4);
      // MQTT.js answers PUBREC with PUBREL; without it the exchange never ends.
      client.client["_storeAndSend"] = (packet: Packet, callback: () => void, stored: () => void) => {
        stored();
        if (packet.cmd !== "pubrel") client.client["_writePacket"](packet, callback);
      };
      for (let index = 0; index < 5; index++) {
        client.publish("beyond", `${index}`, { qos: 2 }).catch(() => {});
      }
      assert.equal(await client.disconnected(), 0x93);
      assert.equal(client.count("pubrec"), 4);
    });

    it("lets a client use the server's receive maximum again and again", async () => {
      await using client = await TestClient.connect(smallUrl);
      for (let round = 0; round < 20; round++) {
        await Promise.all([0, 1, 2, 3].map((index) => client.publish("within", `${index}`, { qos: 2 })));
      }
      assert.ok(client.client.connected);
    });

    it("keeps the largest packet of both sides (3.1.2.11.4, 3.2.2.3.6)", async () => {
      await using receiver = await TestClient.connect(url, { properties: { maximumPacketSize: 200 } });
      await receiver.subscribe("size", { qos: 1 });
      await using sender = await TestClient.connect(url);
      await sender.publish("size", "x".repeat(300));
      await sender.publish("size", "small");
      assert.deepEqual(await receiver.texts(1), ["small"]);
      await receiver.assertNothingMore();

      await using small = await TestClient.connect(smallUrl);
      assert.equal(small.connack.properties?.maximumPacketSize, 2_000);
      await small.publish("size/in", "x".repeat(1_900));
      small.publish("size/in", "x".repeat(2_000)).catch(() => {});
      assert.equal(await small.disconnected(), 0x95);
    });
  });

  describe("sessions and wills", { concurrency: 10 }, () => {
    it("expire when the client said, not before, and never when it only changed its mind (3.1.2.11.2)", async () => {
      const short = lasting(1);
      const long = lasting(60);
      const ended = lasting(60);
      for (const options of [short, long]) await (await TestClient.connect(url, options)).end();
      // DISCONNECT may shorten the time. @see MQTT 5.0 §3.14.2.2.2
      await (await TestClient.connect(url, ended)).end({ properties: { sessionExpiryInterval: 0 } });
      const isPresent = async (options: IClientOptions) => {
        await using client = await TestClient.connect(url, options);
        return client.connack.sessionPresent;
      };
      assert.equal(await isPresent(long), true);
      assert.equal(await isPresent(ended), false);
      await delay(2_100);
      assert.equal(await isPresent(short), false);
      assert.equal(await isPresent(long), true);
    });

    it("last no longer than the server allows, which it says (3.2.2.3.2)", async () => {
      await using client = await TestClient.connect(smallUrl, lasting(3_600));
      assert.equal(client.connack.properties?.sessionExpiryInterval, 60);
    });

    it("cannot be made to last by DISCONNECT when CONNECT did not ask for it (3.14.2.2.2)", async () => {
      await using client = await TestClient.connect(url);
      client.client.end(false, { properties: { sessionExpiryInterval: 60 } });
      assert.equal(await client.disconnected(), 0x82);
    });

    it("publish a will after its delay, with its properties, unless the client comes back (3.1.3.2.2)", async () => {
      await using watcher = await TestClient.connect(url);
      await watcher.subscribe("delayed/#", { qos: 1 });
      const returning = withWill("delayed/returning", lasting(60), 1);
      const staying = withWill("delayed/staying", lasting(60), 1);
      const expiring = withWill("delayed/expiring", lasting(1), 60);
      const startMs = performance.now();
      for (const options of [returning, staying, expiring])
        await (await TestClient.connect(url, options)).cut();
      await using back = await TestClient.connect(url, returning);
      const wills = [await watcher.next(), await watcher.next()];
      const tookMs = performance.now() - startMs;
      assert.ok(tookMs >= 900, `${tookMs} ms`);
      assert.deepEqual(wills.map(({ text }) => text).sort(), ["delayed/expiring", "delayed/staying"]);
      assert.equal(wills[0]?.properties.contentType, "text/x-will");
      assert.deepEqual({ ...wills[0]?.properties.userProperties }, { a: "b" });
      await back.end();
      await watcher.assertNothingMore();
    });

    it("publish a will at once without a session, and on DISCONNECT 0x04 (3.14.2.1)", async () => {
      await using watcher = await TestClient.connect(url);
      await watcher.subscribe("at-once/+", { qos: 1 });
      const gone = await TestClient.connect(url, withWill("at-once/over", {}, 3_600));
      await gone.cut();
      assert.deepEqual(await watcher.texts(1), ["at-once/over"]);
      const leaving = await TestClient.connect(url, withWill("at-once/leaving", {}, 0));
      await leaving.end({ reasonCode: 0x04 });
      assert.deepEqual(await watcher.texts(1), ["at-once/leaving"]);
    });

    it("end when nothing comes for one and a half times the keep-alive that the server set (3.1.2.10, 3.2.2.3.14)", async () => {
      await using client = await TestClient.connect(smallUrl, { keepalive: 60 });
      assert.equal(client.connack.properties?.serverKeepAlive, 1);
      assert.equal(client.client.keepalive, 1);
      await delay(1_800);
      assert.ok(client.client.connected, "MQTT.js pings in time");
      client.client["_destroyKeepaliveManager"]();
      const startMs = performance.now();
      assert.equal(await client.disconnected(), 0x8d);
      assert.ok(performance.now() - startMs < 3_000);
    });
  });
});
