import assert from "node:assert/strict";
import { describe, it } from "node:test";

import * as packets from "../support/packets.ts";
import { property, type ConnectOptions, type QoS, type Version } from "../support/packets.ts";
import type { RawClient } from "../support/raw-client.ts";
import { Broker, unique } from "../support/target.ts";

/** Sections 4.5 and 4.6: message receipt and message order. */
const broker = new Broker();
const messageCount = 60;

function lasting(version: Version): ConnectOptions {
  const properties = version === 5 ? [property.sessionExpiryInterval(600)] : [];
  return { clientId: unique("c"), clean: false, properties };
}

/** Sends all at once, as fast as the Receive Maximum allows, and returns what the broker answered, in order. */
async function publishBurst(client: RawClient, topic: string, qos: QoS): Promise<number[]> {
  const atOnce = qos === 0 ? messageCount : Math.min(20, client.connack.properties.receiveMaximum ?? 20);
  const answers: number[] = [];
  for (let from = 1; from <= messageCount; from += atOnce) {
    const ids = Array.from({ length: atOnce }, (_, index) => from + index).filter((id) => id <= messageCount);
    client.send(
      ...ids.map((id) => {
        const options = { topic, qos, payload: `${id}` };
        return packets.publish(client.version, qos === 0 ? options : { ...options, packetId: id });
      }),
    );
    if (qos === 0) continue;
    for (const _ of ids) answers.push((await client.expect(qos === 1 ? "puback" : "pubrec")).packetId);
    if (qos < 2) continue;
    client.send(...ids.map((id) => packets.pubrel(id)));
    for (const _ of ids) await client.expect("pubcomp");
  }
  return answers;
}

const inOrder = Array.from({ length: messageCount }, (_, index) => index + 1);
const payloadsInOrder = inOrder.map(String);

async function deliversInOrder(version: Version): Promise<void> {
  for (const qos of [0, 1, 2] as const) {
    const topic = unique("t");
    await using subscriber = await broker.connect(version);
    await subscriber.subscribe(topic, qos);
    await using publisher = await broker.connect(version);
    await publishBurst(publisher, topic, qos);
    assert.deepEqual(await subscriber.receivePayloads(messageCount), payloadsInOrder);
  }
}

async function answersInOrder(version: Version): Promise<void> {
  for (const qos of [1, 2] as const) {
    await using publisher = await broker.connect(version);
    assert.deepEqual(await publishBurst(publisher, unique("t"), qos), inOrder);
  }
}

/** PUBRECs come in another order than the messages were sent; PUBRELs follow the PUBRECs. */
async function releasesInOrder(version: Version): Promise<void> {
  const topic = unique("t");
  await using subscriber = await broker.connect(version);
  await subscriber.subscribe(topic, 2);
  await using publisher = await broker.connect(version);
  const ids: number[] = [];
  for (let count = 0; count < 6; count += 1) {
    await publisher.publish({ topic, qos: 2 });
    ids.push((await subscriber.expect("publish")).packetId);
  }
  const shuffled = [3, 0, 5, 1, 4, 2].map((index) => ids[index] ?? 0);
  subscriber.send(...shuffled.map((id) => packets.pubrec(id)));
  for (const id of shuffled) assert.equal((await subscriber.expect("pubrel")).packetId, id);
}

/** Some acknowledged, some not, and more that came while the client was away. */
async function keepsOrderAcrossReconnects(version: Version): Promise<void> {
  for (const qos of [1, 2] as const) {
    const topic = unique("t");
    const options = lasting(version);
    await using first = await broker.connect(version, options);
    await first.subscribe(topic, qos);
    await using publisher = await broker.connect(version);
    for (let index = 0; index < 6; index += 1) await publisher.publish({ topic, qos, payload: `${index}` });
    assert.deepEqual(await first.receivePayloads(2), ["0", "1"]);
    await first.ping();
    await first.drop();
    for (let index = 6; index < 12; index += 1) await publisher.publish({ topic, qos, payload: `${index}` });
    await using second = await broker.connect(version, options);
    const rest = Array.from({ length: 10 }, (_, index) => `${index + 2}`);
    assert.deepEqual(await second.receivePayloads(10), rest);
    await second.expectNothing();
  }
}

async function deliversToEverySession(version: Version): Promise<void> {
  const topic = unique("t");
  const options = lasting(version);
  await using away = await broker.connect(version, options);
  await away.subscribe(`${topic}/#`, 2);
  await away.drop();
  await using exact = await broker.connect(version);
  await exact.subscribe(`${topic}/x`, 1);
  await using wild = await broker.connect(version);
  await wild.subscribe(`${topic}/+`, 0);
  await using publisher = await broker.connect(version);
  await publisher.publish({ topic: `${topic}/x`, qos: 2, payload: "for all" });
  await using back = await broker.connect(version, options);
  for (const client of [exact, wild, back]) {
    assert.equal((await client.receive()).payload, "for all");
    await client.expectNothing();
  }
}

describe("MQTT 3.1.1", { concurrency: true }, () => {
  it("[MQTT-4.5.0-1] puts a message into the session of every client with a matching subscription", () =>
    deliversToEverySession(4));

  it("[MQTT-4.6.0-1] sends messages again in their order", () => keepsOrderAcrossReconnects(4));

  it("[MQTT-4.6.0-2] [MQTT-4.6.0-3] acknowledges in the order of the messages", () => answersInOrder(4));

  it("[MQTT-4.6.0-4] releases in the order of the PUBRECs", () => releasesInOrder(4));

  it("[MQTT-4.6.0-5] [MQTT-4.6.0-6] delivers the messages of a publisher in their order", () =>
    deliversInOrder(4));
});

describe("MQTT 5.0", { concurrency: true }, () => {
  it("[MQTT-4.5.0-1] puts a message into the session of every client with a matching subscription", () =>
    deliversToEverySession(5));

  it("[MQTT-4.6.0-1] sends messages again in their order", () => keepsOrderAcrossReconnects(5));

  it("[MQTT-4.6.0-2] [MQTT-4.6.0-3] acknowledges in the order of the messages", () => answersInOrder(5));

  it("[MQTT-4.6.0-4] releases in the order of the PUBRECs", () => releasesInOrder(5));

  it("[MQTT-4.6.0-5] [MQTT-4.6.0-6] delivers the messages of a publisher in their order", () =>
    deliversInOrder(5));
});
