import assert from "node:assert/strict";
import { describe, it } from "node:test";

import { concat, field, packet, raw, u16, utf8 } from "../support/bytes.ts";
import * as packets from "../support/packets.ts";
import { property, subscriptionOption, type QoS, type Version } from "../support/packets.ts";
import type { RawClient } from "../support/raw-client.ts";
import { Broker, unique } from "../support/target.ts";

/** Sections 3.8 and 3.9: SUBSCRIBE and SUBACK. */
const broker = new Broker();

async function refuses(version: Version, bytes: Uint8Array, ...reasonCodes: number[]): Promise<void> {
  await using client = await broker.connect(version);
  client.send(bytes);
  await broker.expectRefused(client, ...reasonCodes);
}

async function closesOnFlags(version: Version): Promise<void> {
  const good = packets.subscribe(version, 1, [[unique("t"), 0]]);
  for (const flags of [0, 1, 3, 6, 10])
    await refuses(version, concat(raw(0x80 | flags), good.subarray(1)), 0x81);
}

async function closesOnFilterThatIsNotUtf8(version: Version): Promise<void> {
  await refuses(version, packets.subscribe(version, 1, [[raw(0x61, 0xff), 0]]), 0x81);
  await refuses(version, packets.subscribe(version, 1, [[utf8("a\0b"), 0]]), 0x81);
}

async function closesWithoutFilter(version: Version): Promise<void> {
  await refuses(version, packets.subscribe(version, 1, []), 0x81, 0x82);
  const properties = packets.propertiesOf(version);
  await refuses(version, packet(0x82, u16(1), properties, field(unique("t"))), 0x81);
}

async function answersWithSuback(version: Version): Promise<void> {
  await using client = await broker.connect(version);
  client.send(packets.subscribe(version, 40_000, [[unique("t"), 1]]));
  const { packetId, reasonCodes } = await client.expect("suback");
  assert.equal(packetId, 40_000);
  assert.deepEqual(reasonCodes, [1]);
}

async function answersEachFilterInOrder(version: Version): Promise<void> {
  const topic = unique("t");
  await using client = await broker.connect(version);
  const requests = [2, 0, 1, 1, 2].map((qos, index) => [`${topic}/${index}`, qos] as const);
  client.send(packets.subscribe(version, 1, requests));
  assert.deepEqual((await client.expect("suback")).reasonCodes, [2, 0, 1, 1, 2]);
  for (const [filter, qos] of requests) {
    await client.publish({ topic: filter, qos: 2 });
    assert.equal((await client.take("publish")).qos, qos);
  }
}

/** The same filter several times in one packet is subscribed to once, with the last options. */
async function treatsFiltersAsASequence(version: Version): Promise<void> {
  const topic = unique("t");
  await using client = await broker.connect(version);
  client.send(
    packets.subscribe(version, 1, [
      [topic, 2],
      [topic, 0],
      [topic, 1],
    ]),
  );
  assert.deepEqual((await client.expect("suback")).reasonCodes, [2, 0, 1]);
  await using publisher = await broker.connect(version);
  await publisher.publish({ topic, qos: 2 });
  assert.equal((await client.receive()).qos, 1);
  await client.expectNothing();
}

async function replacesSubscription(version: Version): Promise<void> {
  const topic = unique("t");
  await using publisher = await broker.connect(version);
  await publisher.publish({ topic, payload: "retained", qos: 1, retain: true });
  await using client = await broker.connect(version);
  await client.subscribe(topic, 2);
  assert.equal((await client.receive()).payload, "retained");
  await client.subscribe(topic, 0);
  const again = await client.receive();
  assert.equal(again.payload, "retained");
  assert.equal(again.qos, 0);
  await publisher.publish({ topic, payload: "once", qos: 2 });
  assert.equal((await client.receive()).qos, 0);
  await client.expectNothing();
  await publisher.publish({ topic, retain: true });
}

/** Messages flow while the client subscribes again and again: none may be lost. */
async function losesNothingWhileReplacing(version: Version): Promise<void> {
  const topic = unique("t");
  await using client = await broker.connect(version);
  await client.subscribe(topic, 1);
  await using publisher = await broker.connect(version);
  const expected = Array.from({ length: 20 }, (_, index) => `${index}`);
  for (const [index, payload] of expected.entries()) {
    publisher.send(packets.publish(version, { topic, qos: 1, packetId: index + 1, payload }));
    client.send(packets.subscribe(version, index + 100, [[topic, 1]]));
  }
  const received: string[] = [];
  while (received.length < expected.length) {
    const publish = await client.take("publish");
    client.send(packets.puback(publish.packetId));
    received.push(publish.payload);
  }
  assert.deepEqual(received, expected);
}

async function deliversAtTheLowerQoS(version: Version): Promise<void> {
  const topic = unique("t");
  await using client = await broker.connect(version);
  for (const granted of [0, 1, 2] as const) {
    await client.subscribe(`${topic}/${granted}`, granted);
    for (const published of [0, 1, 2] as const) {
      await client.publish({ topic: `${topic}/${granted}`, qos: published });
      const publish = await client.take("publish");
      assert.equal(publish.qos, Math.min(granted, published));
      await client.acknowledge(publish);
    }
  }
}

async function takesWildcards(version: Version): Promise<void> {
  const topic = unique("t");
  await using client = await broker.connect(version);
  assert.deepEqual((await client.subscribe([`${topic}/+`, `${topic}/x/#`], 1)).reasonCodes, [1, 1]);
}

/** How the client sees a message that it or somebody else publishes while it is subscribed with these options. */
async function deliveredFrom(publisher: RawClient, client: RawClient, topic: string, qos: QoS = 1) {
  await publisher.publish({ topic, qos });
  await client.ping();
  if (client.arrived === undefined) return undefined;
  return client.receive();
}

describe("MQTT 3.1.1", { concurrency: true }, () => {
  it("[MQTT-3.8.1-1] closes the connection on a SUBSCRIBE with wrong flags", () => closesOnFlags(4));

  it("[MQTT-3.8.3-1] closes the connection on a filter that is not UTF-8", () =>
    closesOnFilterThatIsNotUtf8(4));

  it("[MQTT-3.8.3-2] takes filters with wildcards", () => takesWildcards(4));

  it("[MQTT-3.8.3-3] closes the connection on a SUBSCRIBE without filter", () => closesWithoutFilter(4));

  it("[MQTT-3.8.3-4] closes the connection on reserved bits and QoS 3", async () => {
    for (const options of [3, 4, 8, 0x10, 0x80, 0xff]) {
      await refuses(4, packets.subscribe(4, 1, [[unique("t"), options]]));
    }
  });

  it("[MQTT-3.8.4-1] [MQTT-3.8.4-2] answers SUBSCRIBE with SUBACK of the same packet id", () =>
    answersWithSuback(4));

  it("[MQTT-3.8.4-3] replaces a subscription to the same filter and sends retained messages again", () =>
    replacesSubscription(4));

  it("[MQTT-3.8.4-3] loses no message while a subscription is replaced", () => losesNothingWhileReplacing(4));

  it("[MQTT-3.8.4-4] handles several filters as a sequence, with one SUBACK", () =>
    treatsFiltersAsASequence(4));

  it("[MQTT-3.8.4-5] [MQTT-3.9.3-1] [MQTT-3.9.3-2] answers each filter in order with the QoS granted", () =>
    answersEachFilterInOrder(4));

  it("[MQTT-3.8.4-6] delivers at the lower of the published and the granted QoS", () =>
    deliversAtTheLowerQoS(4));

  it(
    "refuses a malformed filter by closing the connection",
    { skip: broker.unlessOurs("the specification allows 0x80 too") },
    async () => {
      await refuses(4, packets.subscribe(4, 1, [["sensors/#/temperature", 0]]));
      await refuses(4, packets.subscribe(4, 1, [["", 0]]));
    },
  );
});

describe("MQTT 5.0", { concurrency: true }, () => {
  it("[MQTT-3.8.1-1] closes the connection on a SUBSCRIBE with wrong flags", () => closesOnFlags(5));

  it("[MQTT-3.8.3-1] closes the connection on a filter that is not UTF-8", () =>
    closesOnFilterThatIsNotUtf8(5));

  it("[MQTT-3.8.3-2] closes the connection on a SUBSCRIBE without filter", () => closesWithoutFilter(5));

  it("[MQTT-3.8.3-3] sends a client with No Local nothing of its own", async () => {
    const topic = unique("t");
    await using client = await broker.connect(5);
    await using other = await broker.connect(5);
    await client.subscribe(topic, subscriptionOption.noLocal | 2);
    for (const qos of [0, 1, 2] as const) {
      assert.equal(await deliveredFrom(client, client, topic, qos), undefined);
      assert.equal((await deliveredFrom(other, client, topic, qos))?.qos, qos);
    }
  });

  it("[MQTT-3.8.3-3] sends it what it published where another subscription without No Local matches", async () => {
    const topic = unique("t");
    await using client = await broker.connect(5);
    await client.subscribe(topic, subscriptionOption.noLocal | 2, [property.subscriptionIdentifier(1)]);
    await client.subscribe(`${topic}/#`, 1, [property.subscriptionIdentifier(2)]);
    const own = await deliveredFrom(client, client, topic, 2);
    assert.equal(own?.qos, 1);
    assert.deepEqual(own.properties.subscriptionIdentifiers, [2]);
    await client.expectNothing();
  });

  it("[MQTT-3.8.3-4] closes the connection on No Local with a shared subscription", () =>
    refuses(5, packets.subscribe(5, 1, [[`$share/g/${unique("t")}`, subscriptionOption.noLocal]]), 0x82));

  it("[MQTT-3.8.3-5] closes the connection on reserved bits, QoS 3 and Retain Handling 3", async () => {
    for (const options of [0x40, 0x80, 0xc1, 3, 0x30]) {
      await refuses(5, packets.subscribe(5, 1, [[unique("t"), options]]), 0x81, 0x82);
    }
  });

  it("[MQTT-3.8.4-1] [MQTT-3.8.4-2] answers SUBSCRIBE with SUBACK of the same packet id", () =>
    answersWithSuback(5));

  it("[MQTT-3.8.4-3] replaces a subscription to the same filter, with its options", async () => {
    await replacesSubscription(5);
    const topic = unique("t");
    await using client = await broker.connect(5);
    await client.subscribe(topic, subscriptionOption.noLocal | 2, [property.subscriptionIdentifier(1)]);
    assert.equal(await deliveredFrom(client, client, topic), undefined);
    await client.subscribe(topic, 1, [property.subscriptionIdentifier(2)]);
    assert.deepEqual((await deliveredFrom(client, client, topic))?.properties.subscriptionIdentifiers, [2]);
    await client.subscribe(topic, 1);
    assert.deepEqual((await deliveredFrom(client, client, topic))?.properties, {});
  });

  it("[MQTT-3.8.4-4] loses no message while a subscription is replaced", () => losesNothingWhileReplacing(5));

  it("[MQTT-3.8.4-5] handles several filters as a sequence, with one SUBACK", () =>
    treatsFiltersAsASequence(5));

  it("[MQTT-3.8.4-6] [MQTT-3.8.4-7] [MQTT-3.9.3-1] answers each filter in order with the QoS granted", () =>
    answersEachFilterInOrder(5));

  it("[MQTT-3.8.4-8] delivers at the lower of the published and the granted QoS", () =>
    deliversAtTheLowerQoS(5));

  it("[MQTT-3.9.2-1] [MQTT-3.9.2-2] keeps SUBACK within the client's Maximum Packet Size", async () => {
    const maximum = 24;
    await using client = await broker.open(5, "plain", maximum);
    await client.connect({ clientId: unique("c"), properties: [property.maximumPacketSize(maximum)] });
    await client.subscribe(["a/b", "c"], 1);
    client.send(packets.subscribe(5, 7, [["$share//x", 0]]));
    if ((await client.closesOrSends()) === "suback") await client.expect("suback");
  });

  it(
    "[MQTT-3.9.3-2] refuses a malformed filter with 0x8F and takes the others",
    { skip: broker.unlessOurs("the specification allows to close the connection too") },
    async () => {
      const topic = unique("t");
      await using client = await broker.connect(5);
      for (const filter of ["sensors/#/temperature", "a#", "a+/b", "+a", "#/", "$share/g"]) {
        assert.deepEqual(
          (await client.subscribe([topic, filter, `${topic}/+`], 1)).reasonCodes,
          [1, 0x8f, 1],
        );
      }
      await client.publish({ topic });
      await client.receive();
      await client.expectNothing();
    },
  );

  it("closes the connection on the Subscription Identifier 0 and on two of them", async () => {
    const [topic, one] = [unique("t"), property.subscriptionIdentifier(1)];
    await refuses(5, packets.subscribe(5, 1, [[topic, 0]], [property.subscriptionIdentifier(0)]), 0x81, 0x82);
    await refuses(5, packets.subscribe(5, 1, [[topic, 0]], [one, one]), 0x81, 0x82);
  });
});
