import assert from "node:assert/strict";
import { describe, it } from "node:test";

import { property, subscriptionOption, type QoS, type Version } from "../support/packets.ts";
import { Broker, unique } from "../support/target.ts";

/** Section 3.3.1.3: retained messages. */
const broker = new Broker();

/** What a new subscriber is sent for one topic: payload and QoS of the retained message, or `undefined`. */
async function retainedAt(
  version: Version,
  topic: string,
): Promise<{ payload: string; qos: QoS } | undefined> {
  await using subscriber = await broker.connect(version);
  await subscriber.subscribe(topic, 2);
  await subscriber.ping();
  if (subscriber.arrived === undefined) return undefined;
  const { payload, qos, retain } = await subscriber.receive();
  assert.equal(retain, true);
  await subscriber.expectNothing();
  return { payload, qos };
}

async function retain(version: Version, topic: string, payload: string, qos: QoS = 1): Promise<void> {
  await using publisher = await broker.connect(version);
  await publisher.publish({ topic, payload, qos, retain: true });
}

async function keepsMessageAndQoS(version: Version): Promise<void> {
  for (const qos of [0, 1, 2] as const) {
    const topic = unique("t");
    await retain(version, topic, "first", qos);
    await retain(version, topic, "second", qos);
    assert.deepEqual(await retainedAt(version, topic), { payload: "second", qos });
    await retain(version, topic, "");
  }
}

async function replacesAtQoS0(version: Version): Promise<void> {
  const topic = unique("t");
  await retain(version, topic, "at QoS 2", 2);
  await retain(version, topic, "at QoS 0", 0);
  assert.deepEqual(await retainedAt(version, topic), { payload: "at QoS 0", qos: 0 });
  await retain(version, topic, "");
}

async function sendsEveryMatchToNewSubscriptions(version: Version): Promise<void> {
  const id = unique("t");
  const topics = [`${id}/a`, `${id}/b`, `${id}/b/c`];
  for (const topic of topics) await retain(version, topic, topic);
  await using subscriber = await broker.connect(version);
  await subscriber.subscribe(`${id}/#`, 1);
  assert.deepEqual((await subscriber.receivePayloads(3)).sort(), topics);
  await subscriber.expectNothing();
  await subscriber.subscribe(`${id}/+`, 1);
  assert.deepEqual((await subscriber.receivePayloads(2)).sort(), topics.slice(0, 2));
  await subscriber.expectNothing();
  for (const topic of topics) await retain(version, topic, "");
}

async function clearsFlagForEstablishedSubscriptions(version: Version): Promise<void> {
  const topic = unique("t");
  await using subscriber = await broker.connect(version);
  await subscriber.subscribe(topic, 1);
  await retain(version, topic, "live");
  const { payload, retain: flag } = await subscriber.receive();
  assert.equal(payload, "live");
  assert.equal(flag, false);
  await retain(version, topic, "");
}

async function clearsWithoutPayload(version: Version): Promise<void> {
  const topic = unique("t");
  await using subscriber = await broker.connect(version);
  await subscriber.subscribe(topic, 1);
  await retain(version, topic, "there");
  await retain(version, topic, "");
  assert.deepEqual(await subscriber.receivePayloads(2), ["there", ""]);
  assert.equal(await retainedAt(version, topic), undefined);
}

async function keepsNoEmptyMessage(version: Version): Promise<void> {
  const topic = unique("t");
  for (const qos of [0, 1, 2] as const) await retain(version, topic, "", qos);
  assert.equal(await retainedAt(version, topic), undefined);
}

async function leavesOthersAlone(version: Version): Promise<void> {
  const topic = unique("t");
  await using publisher = await broker.connect(version);
  await publisher.publish({ topic, payload: "not retained", qos: 1 });
  assert.equal(await retainedAt(version, topic), undefined);
  await retain(version, topic, "retained");
  await publisher.publish({ topic, payload: "not retained", qos: 1 });
  await publisher.publish({ topic, payload: "", qos: 1 });
  assert.deepEqual(await retainedAt(version, topic), { payload: "retained", qos: 1 });
  await retain(version, topic, "");
}

/** Subscribes twice with these options and returns how many retained messages each subscription was sent. */
async function retainedTwice(options: number): Promise<[first: number, second: number]> {
  const topic = unique("t");
  await retain(5, topic, "retained");
  await using subscriber = await broker.connect(5);
  const counts: [number, number] = [0, 0];
  for (const index of [0, 1] as const) {
    await subscriber.subscribe(topic, options | 1);
    await subscriber.publish({ topic: `${topic}/end` });
    while (subscriber.arrived === "publish") {
      const { payload } = await subscriber.receive();
      assert.equal(payload, "retained");
      counts[index] += 1;
    }
  }
  await retain(5, topic, "");
  return counts;
}

async function flagOfForwarded(options: number, flag: boolean): Promise<boolean> {
  const topic = unique("t");
  await using subscriber = await broker.connect(5);
  await subscriber.subscribe(topic, options | 1);
  await subscriber.publish({ topic, payload: "p", retain: flag });
  const received = await subscriber.take("publish");
  await retain(5, topic, "");
  return received.retain;
}

describe("MQTT 3.1.1", { concurrency: true }, () => {
  it("[MQTT-3.3.1-5] keeps the last retained message with its QoS", () => keepsMessageAndQoS(4));

  it("[MQTT-3.3.1-6] [MQTT-3.3.1-8] sends every matching retained message to a new subscription, with RETAIN 1", () =>
    sendsEveryMatchToNewSubscriptions(4));

  it("[MQTT-3.3.1-7] replaces a retained message by one at QoS 0", () => replacesAtQoS0(4));

  it("[MQTT-3.3.1-9] sets RETAIN 0 for established subscriptions", () =>
    clearsFlagForEstablishedSubscriptions(4));

  it("[MQTT-3.3.1-10] forwards a retained message without payload and forgets the one before", () =>
    clearsWithoutPayload(4));

  it("[MQTT-3.3.1-11] keeps no retained message without payload", () => keepsNoEmptyMessage(4));

  it("[MQTT-3.3.1-12] neither keeps nor removes anything with RETAIN 0", () => leavesOthersAlone(4));
});

describe("MQTT 5.0", { concurrency: true }, () => {
  it("[MQTT-3.3.1-5] keeps the last retained message with its QoS", async () => {
    await keepsMessageAndQoS(5);
    await replacesAtQoS0(5);
  });

  it("[MQTT-3.3.1-5] keeps the properties of a retained message", async () => {
    const topic = unique("t");
    await using client = await broker.connect(5);
    const properties = [
      property.contentType("c"),
      property.responseTopic("r"),
      property.payloadFormatIndicator(1),
      property.userProperty("b", "1"),
      property.userProperty("a", "2"),
    ];
    await client.publish({ topic, payload: "p", qos: 1, retain: true, properties });
    await client.subscribe(topic);
    assert.deepEqual((await client.take("publish")).properties, {
      contentType: "c",
      responseTopic: "r",
      payloadFormatIndicator: 1,
      userProperties: [
        ["b", "1"],
        ["a", "2"],
      ],
    });
    await retain(5, topic, "");
  });

  it("[MQTT-3.3.1-6] forwards a retained message without payload and forgets the one before", () =>
    clearsWithoutPayload(5));

  it("[MQTT-3.3.1-7] keeps no retained message without payload", () => keepsNoEmptyMessage(5));

  it("[MQTT-3.3.1-8] neither keeps nor removes anything with RETAIN 0", () => leavesOthersAlone(5));

  it("[MQTT-3.3.1-9] sends retained messages at every subscription with Retain Handling 0", async () => {
    await sendsEveryMatchToNewSubscriptions(5);
    assert.deepEqual(await retainedTwice(0), [1, 1]);
  });

  it("[MQTT-3.3.1-10] sends retained messages to new subscriptions only with Retain Handling 1", async () => {
    assert.deepEqual(await retainedTwice(subscriptionOption.retainIfNew), [1, 0]);
  });

  it("[MQTT-3.3.1-10] sends them again with Retain Handling 1 after UNSUBSCRIBE", async () => {
    const topic = unique("t");
    await retain(5, topic, "retained");
    await using subscriber = await broker.connect(5);
    for (let round = 0; round < 2; round += 1) {
      await subscriber.subscribe(topic, subscriptionOption.retainIfNew | 1);
      assert.equal((await subscriber.receive()).payload, "retained");
      await subscriber.unsubscribe(topic);
    }
    await retain(5, topic, "");
  });

  it("[MQTT-3.3.1-11] sends no retained messages with Retain Handling 2", async () => {
    assert.deepEqual(await retainedTwice(subscriptionOption.retainNever), [0, 0]);
  });

  it("[MQTT-3.3.1-12] sets RETAIN 0 for established subscriptions without Retain As Published", async () => {
    await clearsFlagForEstablishedSubscriptions(5);
    assert.equal(await flagOfForwarded(0, true), false);
    assert.equal(await flagOfForwarded(0, false), false);
  });

  it("[MQTT-3.3.1-13] passes RETAIN on with Retain As Published", async () => {
    assert.equal(await flagOfForwarded(subscriptionOption.retainAsPublished, true), true);
    assert.equal(await flagOfForwarded(subscriptionOption.retainAsPublished, false), false);
  });
});
