import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { setTimeout as delay } from "node:timers/promises";

import { property, subscriptionOption, type Version } from "../support/packets.ts";
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

  it("[MQTT-4.1.0-1] keeps the options and identifiers of subscriptions", async () => {
    const topic = unique("t");
    const properties = [property.sessionExpiryInterval(600)];
    const options = { clientId: unique("c"), clean: false, properties };
    await using first = await broker.connect(5, options);
    const { noLocal, retainAsPublished } = subscriptionOption;
    await first.subscribe(topic, noLocal | retainAsPublished | 1, [property.subscriptionIdentifier(9)]);
    await first.disconnect();
    await using publisher = await broker.connect(5);
    await publisher.publish({ topic, payload: "retained", qos: 2, retain: true });
    await using second = await broker.connect(5, options);
    await second.publish({ topic, payload: "own", qos: 1 });
    const received = await second.receive();
    assert.deepEqual([received.payload, received.qos, received.retain], ["retained", 1, true]);
    assert.deepEqual(received.properties.subscriptionIdentifiers, [9]);
    await second.expectNothing();
    await publisher.publish({ topic, retain: true });
  });

  it("[MQTT-4.1.0-2] lets a resumed session end with the connection that asks for it", async () => {
    const options = { clientId: unique("c"), clean: false };
    const lasting = { ...options, properties: [property.sessionExpiryInterval(600)] };
    await using first = await broker.connect(5, lasting);
    await first.disconnect();
    await using second = await broker.connect(5, options);
    assert.equal(second.connack.sessionPresent, true);
    await second.disconnect();
    await using third = await broker.connect(5, lasting);
    assert.equal(third.connack.sessionPresent, false);
  });

  it("takes a session from one version of MQTT to another, and back", async () => {
    const topic = unique("t");
    const clientId = unique("c");
    const properties = [property.sessionExpiryInterval(600)];
    await using old = await broker.connect(4, { clientId, clean: false });
    await old.subscribe(topic, 1);
    await old.disconnect();
    await using publisher = await broker.connect(5);
    const withProperties = { topic, qos: 1, properties: [property.contentType("text/plain")] } as const;
    await publisher.publish({ ...withProperties, payload: "one" });
    await using young = await broker.connect(5, { clientId, clean: false, properties });
    assert.equal(young.connack.sessionPresent, true);
    assert.deepEqual((await young.receive()).properties, { contentType: "text/plain" });
    await young.disconnect();
    await publisher.publish({ ...withProperties, payload: "two" });
    await using again = await broker.connect(4, { clientId, clean: false });
    assert.equal((await again.receive()).payload, "two");
  });

  it("tells client ids apart by every byte", async () => {
    const id = unique("c");
    const properties = [property.sessionExpiryInterval(600)];
    await using lower = await broker.connect(5, { clientId: `${id}-\u00e9`, clean: false, properties });
    for (const clientId of [`${id}-e\u0301`, `${id}-\u00c9`, `${id}-\u00e9 `]) {
      await using other = await broker.connect(5, { clientId, clean: false, properties });
      assert.equal(other.connack.sessionPresent, false);
    }
    await lower.ping();
  });
});
