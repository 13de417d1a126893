import assert from "node:assert/strict";
import { describe, it } from "node:test";

import { concat, field, packet, raw, u16 } from "../support/bytes.ts";
import * as packets from "../support/packets.ts";
import { property, type QoS, type Version } from "../support/packets.ts";
import type { RawClient } from "../support/raw-client.ts";
import { Broker, unique } from "../support/target.ts";

/** Section 3.3: PUBLISH, without retained messages, expiry, aliases and flow control, which have files of their own. */
const broker = new Broker();
const keepForever = [property.sessionExpiryInterval(0xff_ff_ff_ff)];

/** Not acknowledged on the first connection, hence sent again on the second. */
async function setsDupOnRedelivery(version: Version): Promise<void> {
  const topic = unique("t");
  const properties = version === 5 ? keepForever : [];
  const options = { clientId: unique("c"), clean: false, properties };
  await using first = await broker.connect(version, options);
  await first.subscribe(topic, 2);
  await using publisher = await broker.connect(version);
  for (const qos of [1, 2] as const) await publisher.publish({ topic, qos });
  const sent = [await first.expect("publish"), await first.expect("publish")];
  for (const { dup } of sent) assert.equal(dup, false);
  await first.drop();
  await using second = await broker.connect(version, options);
  const again = [await second.expect("publish"), await second.expect("publish")];
  for (const [index, publish] of again.entries()) assert.deepEqual(publish, { ...sent[index], dup: true });
  for (const publish of again) await second.acknowledge(publish);
}

async function closesOnDupAtQoS0(version: Version): Promise<void> {
  await using client = await broker.connect(version);
  client.send(packets.publish(version, { topic: unique("t"), dup: true }));
  await broker.expectRefused(client, 0x81, 0x82);
}

async function doesNotPassDupOn(version: Version): Promise<void> {
  const topic = unique("t");
  await using client = await broker.connect(version);
  await client.subscribe(topic, 2);
  client.send(packets.publish(version, { topic, qos: 1, packetId: 1, dup: true }));
  client.send(packets.publish(version, { topic, qos: 2, packetId: 2, dup: true }), packets.pubrel(2));
  for (const qos of [1, 2]) {
    const publish = await client.take("publish");
    assert.equal(publish.qos, qos);
    assert.equal(publish.dup, false);
  }
}

async function closesOnQoS3(version: Version): Promise<void> {
  await using client = await broker.connect(version);
  client.send(packets.publish(version, { topic: unique("t"), qos: 3, packetId: 1 }));
  await broker.expectRefused(client, 0x81);
}

async function closesOnBadTopics(version: Version): Promise<void> {
  const id = unique("t");
  for (const topic of [raw(0x61, 0xff), `${id}/+`, `${id}/#`, `#`, `+`, `${id}+`, `${id}/a#b`]) {
    await using client = await broker.connect(version);
    client.send(packets.publish(version, { topic }));
    await broker.expectRefused(client, 0x81, 0x82, 0x90);
  }
}

async function closesOnMissingTopic(version: Version): Promise<void> {
  for (const body of [raw(), raw(0), concat(u16(10), raw(0x61))]) {
    await using client = await broker.connect(version);
    client.send(packet(0x30, body));
    await broker.expectRefused(client, 0x81);
  }
}

async function deliversOnlyWhatMatches(version: Version): Promise<void> {
  const id = unique("t");
  await using client = await broker.connect(version);
  await client.subscribe([`${id}/a`, `${id}/b/+`, `${id}/c/#`]);
  const matching = [`${id}/a`, `${id}/b/x`, `${id}/b/`, `${id}/c`, `${id}/c/x/y`];
  const others = [id, `${id}/`, `${id}/a/x`, `${id}/b`, `${id}/b/x/y`, `${id}/d`, `/${id}/a`];
  for (const topic of [...others, ...matching]) client.send(packets.publish(version, { topic }));
  for (const topic of matching) assert.equal((await client.expect("publish")).topic, topic);
  await client.expectNothing();
}

async function answersAsTheQoSAsks(version: Version): Promise<void> {
  const topic = unique("t");
  await using client = await broker.connect(version);
  client.send(packets.publish(version, { topic, qos: 0 }));
  await client.expectNothing();
  client.send(packets.publish(version, { topic, qos: 1, packetId: 1 }));
  await client.expect("puback");
  client.send(packets.publish(version, { topic, qos: 2, packetId: 2 }));
  await client.expect("pubrec");
  await client.expectNothing();
}

/** One copy at the highest QoS is what we promise; the specification also allows a copy for each subscription. */
async function deliversOverlapAtHighestQoS(version: Version): Promise<void> {
  const id = unique("t");
  await using client = await broker.connect(version);
  await client.subscribe(`${id}/#`, 0);
  await client.subscribe(`${id}/+`, 2);
  await client.subscribe(`${id}/x`, 1);
  await using publisher = await broker.connect(version);
  await publisher.publish({ topic: `${id}/x`, qos: 2 });
  let highest = (await client.expect("publish")).qos;
  if (broker.isOurs) return assert.equal(highest, 2);
  for (let left = 2; highest < 2 && left > 0; left -= 1) {
    const { qos } = await client.expect("publish");
    if (qos > highest) highest = qos;
  }
  assert.equal(highest, 2);
}

/** A `$SYS` topic is never a client's to publish. */
async function refusesForbiddenPublish(version: Version, qos: QoS): Promise<void> {
  await using client = await broker.connect(version);
  const reasonCode = await client.publish({ topic: "$SYS/broker/version", payload: "forged", qos });
  assert.equal(reasonCode, version === 5 && qos > 0 ? 0x87 : 0);
  await client.ping();
}

async function receivedProperties(client: RawClient, topic: string, ...properties: Uint8Array[]) {
  client.send(packets.publish(5, { topic, properties }));
  return (await client.receive()).properties;
}

describe("MQTT 3.1.1", { concurrency: true }, () => {
  it("[MQTT-3.3.1-1] sets DUP when it sends a message again", () => setsDupOnRedelivery(4));

  it("[MQTT-3.3.1-2] closes the connection on DUP at QoS 0", () => closesOnDupAtQoS0(4));

  it("[MQTT-3.3.1-3] does not pass a publisher's DUP on", () => doesNotPassDupOn(4));

  it("[MQTT-3.3.1-4] closes the connection on QoS 3", () => closesOnQoS3(4));

  it("[MQTT-3.3.2-1] closes the connection on a PUBLISH without topic", () => closesOnMissingTopic(4));

  it("[MQTT-3.3.2-2] closes the connection on a topic name that is not UTF-8 or has a wildcard", () =>
    closesOnBadTopics(4));

  it("[MQTT-3.3.2-3] delivers under topic names that match the filter", () => deliversOnlyWhatMatches(4));

  it("[MQTT-3.3.4-1] answers PUBLISH as its QoS asks", () => answersAsTheQoSAsks(4));

  it("[MQTT-3.3.5-1] delivers at the highest QoS of overlapping subscriptions", () =>
    deliversOverlapAtHighestQoS(4));

  it(
    "[MQTT-3.3.5-1] delivers one copy for overlapping subscriptions",
    { skip: broker.unlessOurs("the specification allows several copies") },
    async () => {
      const topic = unique("t");
      await using client = await broker.connect(4);
      await client.subscribe([topic, `${topic}/#`, `+/#`.replace("+", topic)], 1);
      await client.publish({ topic, qos: 1 });
      await client.take("publish");
      await client.expectNothing();
    },
  );

  it(
    "[MQTT-3.3.5-2] acknowledges a message it does not let through",
    { skip: broker.unlessOurs("what the broker under test forbids is not known") },
    async () => {
      for (const qos of [0, 1, 2] as const) await refusesForbiddenPublish(4, qos);
    },
  );
});

describe("MQTT 5.0", { concurrency: true }, () => {
  it("[MQTT-3.3.1-1] sets DUP when it sends a message again", () => setsDupOnRedelivery(5));

  it("[MQTT-3.3.1-2] closes the connection on DUP at QoS 0", () => closesOnDupAtQoS0(5));

  it("[MQTT-3.3.1-3] does not pass a publisher's DUP on", () => doesNotPassDupOn(5));

  it("[MQTT-3.3.1-4] closes the connection on QoS 3", () => closesOnQoS3(5));

  it("[MQTT-3.3.2-1] closes the connection on a PUBLISH without topic", () => closesOnMissingTopic(5));

  it("[MQTT-3.3.2-1] closes the connection on an empty topic name without alias", async () => {
    await using client = await broker.connect(5);
    client.send(packets.publish(5, { topic: "" }));
    await broker.expectRefused(client, 0x81, 0x82, 0x90);
  });

  it("[MQTT-3.3.2-2] closes the connection on a topic name that is not UTF-8 or has a wildcard", () =>
    closesOnBadTopics(5));

  it("[MQTT-3.3.2-3] delivers under topic names that match the filter", () => deliversOnlyWhatMatches(5));

  it("[MQTT-3.3.2-4] passes the Payload Format Indicator on", async () => {
    const topic = unique("t");
    await using client = await broker.connect(5);
    await client.subscribe(topic);
    for (const value of [0, 1]) {
      const received = await receivedProperties(client, topic, property.payloadFormatIndicator(value));
      assert.equal(received.payloadFormatIndicator ?? 0, value);
    }
    assert.deepEqual(await receivedProperties(client, topic), {});
  });

  it("[MQTT-3.3.2-13] [MQTT-3.3.2-14] closes the connection on a Response Topic that is not UTF-8 or has a wildcard", async () => {
    for (const value of [raw(0x61, 0xff), "a/+", "#", "a/#"]) {
      await using client = await broker.connect(5);
      client.send(packets.publish(5, { topic: unique("t"), properties: [property.responseTopic(value)] }));
      await broker.expectRefused(client, 0x81, 0x82, 0x90);
    }
  });

  it("[MQTT-3.3.2-15] [MQTT-3.3.2-16] passes Response Topic and Correlation Data on", async () => {
    const topic = unique("t");
    await using client = await broker.connect(5);
    await client.subscribe(topic);
    const data = raw(0, 0xff, 0x80, 0);
    const received = await receivedProperties(
      client,
      topic,
      property.correlationData(data),
      property.responseTopic("réponse/à"),
    );
    assert.equal(received.responseTopic, "réponse/à");
    assert.deepEqual([...(received.correlationData ?? [])], [...data]);
  });

  it("[MQTT-3.3.2-17] [MQTT-3.3.2-18] passes all user properties on in their order", async () => {
    const topic = unique("t");
    await using client = await broker.connect(5);
    await client.subscribe(topic);
    const pairs: [string, string][] = [
      ["z", "1"],
      ["a", ""],
      ["", "x"],
      ["z", "1"],
      ["ключ", "значение"],
      ["a", "2"],
    ];
    const received = await receivedProperties(
      client,
      topic,
      ...pairs.map(([name, value]) => property.userProperty(name, value)),
    );
    assert.deepEqual(received, { userProperties: pairs });
  });

  it("[MQTT-3.3.2-19] closes the connection on a Content Type that is not UTF-8", async () => {
    await using client = await broker.connect(5);
    const properties = [property.contentType(raw(0xff))];
    client.send(packets.publish(5, { topic: unique("t"), properties }));
    await broker.expectRefused(client, 0x81);
  });

  it("[MQTT-3.3.2-20] passes the Content Type on", async () => {
    const topic = unique("t");
    await using client = await broker.connect(5);
    await client.subscribe(topic);
    const received = await receivedProperties(client, topic, property.contentType("text/plain; x=ü"));
    assert.deepEqual(received, { contentType: "text/plain; x=ü" });
  });

  it("[MQTT-3.3.4-1] answers PUBLISH as its QoS asks", () => answersAsTheQoSAsks(5));

  it("[MQTT-3.3.4-2] delivers at the highest QoS of overlapping subscriptions", () =>
    deliversOverlapAtHighestQoS(5));

  it("[MQTT-3.3.4-3] [MQTT-3.3.4-4] [MQTT-3.3.4-5] delivers with the identifiers of all matching subscriptions", async () => {
    const topic = unique("t");
    await using client = await broker.connect(5);
    await client.subscribe(topic, 0, [property.subscriptionIdentifier(1)]);
    await client.subscribe(`${topic}/#`, 0, [property.subscriptionIdentifier(268_435_455)]);
    await client.subscribe(`+/#`.replace("+", topic), 0, [property.subscriptionIdentifier(200)]);
    await client.subscribe(`${topic}/+`, 0, [property.subscriptionIdentifier(7)]);
    await using publisher = await broker.connect(5);
    await publisher.publish({ topic });
    await client.ping();
    const identifiers: number[] = [];
    while (identifiers.length < 2) {
      const { properties } = await client.expect("publish");
      identifiers.push(...(properties.subscriptionIdentifiers ?? []));
      if (broker.isOurs) assert.equal(identifiers.length, 2);
    }
    assert.deepEqual(
      identifiers.sort((a, b) => a - b),
      [1, 200],
    );
    await client.expectNothing();
  });

  it("[MQTT-3.3.4-4] leaves out subscriptions without identifier", async () => {
    const topic = unique("t");
    await using client = await broker.connect(5);
    await client.subscribe(topic, 1);
    await client.subscribe(`${topic}/+`, 1, [property.subscriptionIdentifier(9)]);
    await client.publish({ topic, qos: 1 });
    assert.deepEqual((await client.take("publish")).properties, {});
    await client.publish({ topic: `${topic}/x`, qos: 1 });
    assert.deepEqual((await client.take("publish")).properties, { subscriptionIdentifiers: [9] });
  });

  it("[MQTT-3.3.4-6] closes the connection on a Subscription Identifier from a client", async () => {
    await using client = await broker.connect(5);
    const properties = [property.subscriptionIdentifier(1)];
    client.send(packets.publish(5, { topic: unique("t"), properties }));
    await broker.expectRefused(client, 0x81, 0x82);
  });

  it(
    "refuses a message it does not let through with 0x87",
    { skip: broker.unlessOurs("what the broker under test forbids is not known") },
    async () => {
      for (const qos of [0, 1, 2] as const) await refusesForbiddenPublish(5, qos);
    },
  );

  it("closes the connection on properties cut short or longer than the packet", async () => {
    const topic = field(unique("t"));
    for (const properties of [raw(5, 0x01), raw(0x80), raw(2, 0x01), raw(1, 0x03)]) {
      await using client = await broker.connect(5);
      client.send(packet(0x30, topic, properties));
      await broker.expectRefused(client, 0x81);
    }
  });
});
