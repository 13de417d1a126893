import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { setTimeout as delay } from "node:timers/promises";

import { raw } from "../support/bytes.ts";
import * as packets from "../support/packets.ts";
import type { Version } from "../support/packets.ts";
import { Broker, unique } from "../support/target.ts";

/** Section 3.1.2.10: Keep Alive. A broker may look at its clocks no more than once a second or so. */
const broker = new Broker();
const latestMs = broker.isOurs ? 1_500 + 3_000 : 7_500;

async function closesSilentClient(version: Version): Promise<void> {
  const topic = unique("w");
  await using watcher = await broker.connect(version);
  await watcher.subscribe(topic);
  const startedMs = performance.now();
  await using client = await broker.connect(version, {
    keepAliveSeconds: 1,
    will: { topic, payload: "silent" },
  });
  assert.equal(client.connack.properties.serverKeepAlive, undefined);
  await (version === 5 && broker.isOurs ? client.expectDisconnect(0x8d) : client.closesOrSends());
  const elapsedMs = performance.now() - startedMs;
  assert.ok(elapsedMs >= 1_450 && elapsedMs < latestMs, `closed after ${elapsedMs} ms`);
  assert.equal((await watcher.receive()).payload, "silent");
}

async function keepsClientThatSpeaks(version: Version): Promise<void> {
  const topic = unique("t");
  await using client = await broker.connect(version, { keepAliveSeconds: 1 });
  const says = [
    packets.pingreq,
    packets.publish(version, { topic }),
    packets.publish(version, { topic, qos: 1, packetId: 1 }),
    packets.subscribe(version, 2, [[topic, 0]]),
    packets.unsubscribe(version, 3, [topic]),
  ];
  for (const bytes of says) {
    client.send(bytes);
    await delay(700);
    assert.equal(client.isClosed, false);
  }
  await client.ping();
}

async function keepsSilentClientWithoutKeepAlive(version: Version): Promise<void> {
  await using client = await broker.connect(version, { keepAliveSeconds: 0 });
  await delay(3_500);
  await client.ping();
}

/** What the broker sends does not count: the client must be heard. */
async function closesClientThatOnlyListens(version: Version): Promise<void> {
  const topic = unique("t");
  await using listener = await broker.connect(version, { keepAliveSeconds: 1 });
  await listener.subscribe(topic);
  await using talker = await broker.connect(version);
  for (let elapsedMs = 0; elapsedMs < latestMs && !listener.isClosed; elapsedMs += 250) {
    talker.send(packets.publish(version, { topic }));
    await delay(250);
  }
  assert.equal(listener.isClosed, true);
}

/** Bytes that never become a packet are not a packet. */
async function closesClientThatFinishesNoPacket(version: Version): Promise<void> {
  await using client = await broker.connect(version, { keepAliveSeconds: 1 });
  const bytes = packets.publish(version, { topic: unique("t"), payload: "slow" });
  const stepMs = latestMs / (bytes.length - 1);
  for (const byte of bytes.subarray(0, -1)) {
    client.send(raw(byte));
    await delay(stepMs);
    if (client.isClosed) return;
  }
  assert.fail("the client is still connected");
}

describe("Keep Alive", { concurrency: true }, () => {
  describe("MQTT 3.1.1", { concurrency: true }, () => {
    it("[MQTT-3.1.2-24] closes the connection after one and a half times the Keep Alive, and publishes the will", () =>
      closesSilentClient(4));

    it("[MQTT-3.1.2-24] keeps a client that sends any packet in time", () => keepsClientThatSpeaks(4));

    it("[MQTT-3.1.2-24] keeps a silent client whose Keep Alive is 0", () =>
      keepsSilentClientWithoutKeepAlive(4));

    it("[MQTT-3.1.2-24] closes a client that only receives", () => closesClientThatOnlyListens(4));

    it("[MQTT-3.1.2-24] closes a client that sends bytes and no packet", () =>
      closesClientThatFinishesNoPacket(4));
  });

  describe("MQTT 5.0", { concurrency: true }, () => {
    it("[MQTT-3.1.2-22] [MQTT-3.2.2-22] closes the connection after one and a half times the client's Keep Alive with 0x8D, and publishes the will", () =>
      closesSilentClient(5));

    it("[MQTT-3.1.2-22] keeps a client that sends any packet in time", () => keepsClientThatSpeaks(5));

    it("[MQTT-3.1.2-22] closes a client that only receives", () => closesClientThatOnlyListens(5));

    it("[MQTT-3.1.2-22] closes a client that sends bytes and no packet", () =>
      closesClientThatFinishesNoPacket(5));

    it(
      "[MQTT-3.1.2-21] [MQTT-3.2.2-21] holds a client to the Server Keep Alive it was told",
      { skip: broker.unlessOurs("the Server Keep Alive of the broker under test is not known") },
      async () => {
        for (const keepAliveSeconds of [60, 0]) {
          const startedMs = performance.now();
          await using client = await broker.connect(5, { keepAliveSeconds }, "limited");
          assert.equal(client.connack.properties.serverKeepAlive, 2);
          await client.expectDisconnect(0x8d);
          const elapsedMs = performance.now() - startedMs;
          assert.ok(elapsedMs >= 2_950 && elapsedMs < 6_000, `closed after ${elapsedMs} ms`);
        }
      },
    );

    it(
      "[MQTT-3.2.2-22] tells a client no Server Keep Alive where its own is short enough",
      { skip: broker.lacks("limited") },
      async () => {
        await using client = await broker.connect(5, { keepAliveSeconds: 2 }, "limited");
        assert.equal(client.connack.properties.serverKeepAlive, undefined);
      },
    );
  });
});
