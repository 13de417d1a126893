import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { setTimeout as delay } from "node:timers/promises";

import { property, type Version } from "../support/packets.ts";
import { Broker, unique } from "../support/target.ts";

/** Sections 4.1 and 4.2: session state and network connections. */
const broker = new Broker();

/** The session of a connection without Clean Session 0 (or with expiry 0) lasts as long as the connection. */
async function keepsSessionWhileConnected(version: Version): Promise<void> {
  const topic = unique("t");
  await using client = await broker.connect(version, { clean: true });
  await client.subscribe(topic, 2);
  await delay(1_200);
  await using publisher = await broker.connect(version);
  await publisher.publish({ topic, qos: 2, payload: "still there" });
  assert.equal((await client.receive()).payload, "still there");
}

/** Subscriptions, queued messages and both sides of unfinished QoS 2 exchanges. */
async function keepsWholeState(version: Version): Promise<void> {
  const topic = unique("t");
  const properties = version === 5 ? [property.sessionExpiryInterval(600)] : [];
  const options = { clientId: unique("c"), clean: false, properties };
  await using first = await broker.connect(version, options);
  await first.subscribe([`${topic}/a`, `${topic}/b/+`], 2);
  await using publisher = await broker.connect(version);
  await publisher.publish({ topic: `${topic}/a`, qos: 2, payload: "unfinished" });
  await first.expect("publish");
  await first.drop();
  for (const qos of [1, 2] as const)
    await publisher.publish({ topic: `${topic}/b/${qos}`, qos, payload: `${qos}` });
  for (let round = 0; round < 2; round += 1) {
    await using away = await broker.connect(version, options);
    await away.drop();
  }
  await using last = await broker.connect(version, options);
  assert.equal(last.connack.sessionPresent, true);
  assert.deepEqual((await last.receivePayloads(3)).sort(), ["1", "2", "unfinished"]);
  await publisher.publish({ topic: `${topic}/b/x`, qos: 2, payload: "subscribed" });
  assert.deepEqual(await last.receivePayloads(1), ["subscribed"]);
  await last.expectNothing();
}

describe("MQTT 3.1.1", { concurrency: true }, () => {
  it("[MQTT-4.1.0-1] stores the whole session for as long as it lasts", () => keepsWholeState(4));

  it("[MQTT-4.1.0-2] keeps a session for at least as long as its connection", () =>
    keepsSessionWhileConnected(4));

  it("[MQTT-7.1.1-1] serves clients over TCP", async () => {
    await using client = await broker.connect(4);
    await client.ping();
  });
});

describe("MQTT 5.0", { concurrency: true }, () => {
  it("[MQTT-4.1.0-1] stores the whole session for as long as it lasts", () => keepsWholeState(5));

  it("[MQTT-4.1.0-1] keeps a session for at least as long as its connection", () =>
    keepsSessionWhileConnected(5));

  it("[MQTT-4.1.0-2] discards a session whose expiry interval has passed", async () => {
    const properties = [property.sessionExpiryInterval(1)];
    const options = { clientId: unique("c"), clean: false, properties };
    await using first = await broker.connect(5, options);
    await first.drop();
    await delay(300);
    await using second = await broker.connect(5, options);
    assert.equal(second.connack.sessionPresent, true);
    await second.drop();
    await delay(2_200);
    await using third = await broker.connect(5, options);
    assert.equal(third.connack.sessionPresent, false);
  });

  it("[MQTT-4.1.0-2] discards a session without expiry interval with its connection", async () => {
    const clientId = unique("c");
    for (const properties of [[], [property.sessionExpiryInterval(0)]]) {
      await using client = await broker.connect(5, { clientId, clean: false, properties });
      assert.equal(client.connack.sessionPresent, false);
      await client.disconnect();
    }
    await using client = await broker.connect(5, { clientId, clean: false });
    assert.equal(client.connack.sessionPresent, false);
  });

  it("[MQTT-4.2.0-1] serves clients over TCP", async () => {
    await using client = await broker.connect(5);
    await client.ping();
  });
});
