import assert from "node:assert/strict";
import { describe, it } from "node:test";

import { concat, field, packet, raw, u16, utf8 } from "../support/bytes.ts";
import * as packets from "../support/packets.ts";
import { property, type Version } from "../support/packets.ts";
import { Broker, unique } from "../support/target.ts";

/** Chapters 1 and 2: data representation, fixed header, packet identifiers. */
const broker = new Broker();

const illFormed = {
  surrogate: raw(0xed, 0xa0, 0x80),
  overlong: raw(0xc0, 0xaf),
  strayContinuation: raw(0x61, 0x80),
  cutShort: raw(0xe2, 0x82),
  beyondUnicode: raw(0xf4, 0x90, 0x80, 0x80),
};

async function closesOnTopic(version: Version, topic: Uint8Array): Promise<void> {
  await using client = await broker.connect(version);
  client.send(packets.publish(version, { topic }));
  await broker.expectRefused(client, 0x81);
}

async function closesOnFilter(version: Version, filter: Uint8Array): Promise<void> {
  await using client = await broker.connect(version);
  client.send(packets.subscribe(version, 1, [[filter, 0]]));
  await broker.expectRefused(client, 0x81);
}

async function closesOnClientId(version: Version, clientId: Uint8Array): Promise<void> {
  await using client = await broker.open(version);
  client.send(packets.connect(version, { clientId }));
  await broker.expectNotConnected(client, 0x81, 0x85);
}

async function closesOnIllFormedText(version: Version): Promise<void> {
  for (const bytes of Object.values(illFormed)) {
    await closesOnTopic(version, bytes);
    await closesOnFilter(version, bytes);
    await closesOnClientId(version, bytes);
  }
}

async function closesOnNull(version: Version): Promise<void> {
  const text = utf8("a\0b");
  await closesOnTopic(version, text);
  await closesOnFilter(version, text);
  await closesOnClientId(version, text);
}

async function keepsByteOrderMark(version: Version): Promise<void> {
  const name = unique("t");
  const marked = `\ufeff${name}`;
  await using client = await broker.connect(version);
  await client.subscribe([marked, `${name}/\ufeff`]);
  await client.publish({ topic: name });
  await client.publish({ topic: `${name}/` });
  await client.expectNothing();
  client.send(packets.publish(version, { topic: marked, payload: "\ufeffx" }));
  const { topic, payload } = await client.receive();
  assert.equal(topic, marked);
  assert.equal(payload, "\ufeffx");
}

/** Every packet type a server sends without being asked twice; the reader checks flags, lengths and properties. */
async function sendsEveryPacket(version: Version): Promise<void> {
  const topic = unique("t");
  await using client = await broker.connect(version);
  await client.subscribe(topic, 2);
  for (const qos of [0, 1, 2] as const) {
    await client.publish({ topic, qos, payload: `${qos}` });
    const publish = await client.take("publish");
    assert.equal(publish.payload, `${qos}`);
    await client.acknowledge(publish);
  }
  await client.unsubscribe(topic);
  await client.ping();
  await client.expectNothing();
}

async function closesOnWrongFlags(version: Version): Promise<void> {
  const topic = field(unique("t"));
  const id = u16(1);
  const properties = packets.propertiesOf(version);
  const wrong = [
    ...[0x80, 0x83, 0x86].map((first) => packet(first, id, properties, topic, raw(0))),
    ...[0xa0, 0xa6].map((first) => packet(first, id, properties, topic)),
    ...[0x60, 0x66].map((first) => packet(first, id)),
    packet(0x41, id),
    packet(0x52, id),
    packet(0x74, id),
    packet(0xc1),
    packet(0xe8),
  ];
  for (const bytes of wrong) {
    await using client = await broker.connect(version);
    client.send(bytes);
    await broker.expectRefused(client, 0x81);
  }
  await using client = await broker.open(version);
  const connect = packets.connect(version, { clientId: unique("c") });
  client.send(concat(raw(0x11), connect.subarray(1)));
  await broker.expectNotConnected(client, 0x81);
}

async function closesOnPacketIdZero(version: Version): Promise<void> {
  const topic = unique("t");
  const wrong = [
    packets.publish(version, { topic, qos: 1, packetId: 0 }),
    packets.publish(version, { topic, qos: 2, packetId: 0 }),
    packets.subscribe(version, 0, [[topic, 0]]),
    packets.unsubscribe(version, 0, [topic]),
  ];
  for (const bytes of wrong) {
    await using client = await broker.connect(version);
    client.send(bytes);
    await broker.expectRefused(client, 0x81, 0x82);
  }
}

async function givesDistinctPacketIds(version: Version): Promise<void> {
  const topic = unique("t");
  await using subscriber = await broker.connect(version);
  await subscriber.subscribe(topic, 2);
  await using publisher = await broker.connect(version);
  for (const qos of [1, 2, 1, 2, 1] as const) await publisher.publish({ topic, qos });
  const ids = new Set<number>();
  while (ids.size < 5) {
    const { packetId } = await subscriber.expect("publish");
    assert.ok(!ids.has(packetId), `the packet id ${packetId} is in use`);
    ids.add(packetId);
  }
}

async function putsNoPacketIdAtQoS0(version: Version): Promise<void> {
  const topic = unique("t");
  await using client = await broker.connect(version);
  await client.subscribe(topic, 0);
  for (const qos of [0, 1, 2] as const) {
    await client.publish({ topic, qos, payload: "exactly these bytes" });
    assert.equal((await client.take("publish")).payload, "exactly these bytes");
  }
}

async function acknowledgesWithTheSameId(version: Version): Promise<void> {
  const topic = unique("t");
  await using client = await broker.connect(version);
  for (const packetId of [1, 0x00_ff, 0xab_cd, 0xff_ff]) {
    client.send(packets.publish(version, { topic, qos: 1, packetId }));
    assert.equal((await client.expect("puback")).packetId, packetId);
    client.send(packets.publish(version, { topic, qos: 2, packetId }));
    assert.equal((await client.expect("pubrec")).packetId, packetId);
    client.send(packets.pubrel(packetId));
    assert.equal((await client.expect("pubcomp")).packetId, packetId);
  }
}

async function answersSubscriptionsWithTheSameId(version: Version): Promise<void> {
  const topic = unique("t");
  await using client = await broker.connect(version);
  for (const packetId of [1, 0x00_ff, 0xab_cd, 0xff_ff]) {
    client.send(packets.subscribe(version, packetId, [[topic, 0]]));
    assert.equal((await client.expect("suback")).packetId, packetId);
    client.send(packets.unsubscribe(version, packetId, [topic]));
    assert.equal((await client.expect("unsuback")).packetId, packetId);
  }
}

describe("MQTT 3.1.1", { concurrency: true }, () => {
  it("[MQTT-1.5.3-1] closes the connection on ill-formed UTF-8", () => closesOnIllFormedText(4));

  it("[MQTT-1.5.3-2] closes the connection on U+0000 in a string", () => closesOnNull(4));

  it("[MQTT-1.5.3-3] keeps U+FEFF at the start of a string", () => keepsByteOrderMark(4));

  it("[MQTT-2.2.2-1] sends every packet with the flags of its type", () => sendsEveryPacket(4));

  it("[MQTT-2.2.2-2] closes the connection on reserved flags", () => closesOnWrongFlags(4));

  it("[MQTT-2.3.1-1] closes the connection on the packet id 0", () => closesOnPacketIdZero(4));

  it("[MQTT-2.3.1-4] gives each unacknowledged message a packet id of its own", () =>
    givesDistinctPacketIds(4));

  it("[MQTT-2.3.1-5] puts no packet id into PUBLISH at QoS 0", () => putsNoPacketIdAtQoS0(4));

  it("[MQTT-2.3.1-6] acknowledges with the packet id of the PUBLISH", () => acknowledgesWithTheSameId(4));

  it("[MQTT-2.3.1-7] answers with the packet id of the SUBSCRIBE and UNSUBSCRIBE", () =>
    answersSubscriptionsWithTheSameId(4));
});

describe("MQTT 5.0", { concurrency: true }, () => {
  it("[MQTT-1.5.4-1] closes the connection on ill-formed UTF-8", () => closesOnIllFormedText(5));

  it("[MQTT-1.5.4-2] closes the connection on U+0000 in a string", () => closesOnNull(5));

  it("[MQTT-1.5.4-3] keeps U+FEFF at the start of a string", () => keepsByteOrderMark(5));

  it("[MQTT-1.5.5-1] encodes lengths in as few bytes as they need", async () => {
    const topic = unique("t");
    await using client = await broker.connect(5);
    await client.subscribe(topic);
    const headerBytes = 2 + topic.length + 1;
    for (const remaining of [127, 128, 16_383, 16_384]) {
      const payload = "x".repeat(remaining - headerBytes);
      client.send(packets.publish(5, { topic, payload }));
      assert.equal((await client.expect("publish")).payload.length, payload.length);
    }
  });

  it("[MQTT-1.5.5-1] closes the connection on a length of five bytes", async () => {
    await using client = await broker.connect(5);
    client.send(raw(0x30, 0x80, 0x80, 0x80, 0x80, 0x01));
    await broker.expectRefused(client, 0x81);
  });

  it("[MQTT-1.5.7-1] closes the connection on a user property that is not UTF-8", async () => {
    const topic = unique("t");
    for (const bytes of [...Object.values(illFormed), utf8("a\0")]) {
      for (const userProperty of [property.userProperty(bytes, "v"), property.userProperty("n", bytes)]) {
        await using client = await broker.connect(5);
        client.send(packets.publish(5, { topic, properties: [userProperty] }));
        await broker.expectRefused(client, 0x81);
      }
    }
  });

  it("[MQTT-2.1.3-1] sends every packet with the flags of its type", () => sendsEveryPacket(5));

  it("[MQTT-2.1.3-1] closes the connection on reserved flags", () => closesOnWrongFlags(5));

  it("[MQTT-2.2.1-2] puts no packet id into PUBLISH at QoS 0", () => putsNoPacketIdAtQoS0(5));

  it("[MQTT-2.2.1-3] closes the connection on the packet id 0", () => closesOnPacketIdZero(5));

  it("[MQTT-2.2.1-4] gives each unacknowledged message a packet id of its own", () =>
    givesDistinctPacketIds(5));

  it("[MQTT-2.2.1-5] acknowledges with the packet id of the PUBLISH", () => acknowledgesWithTheSameId(5));

  it("[MQTT-2.2.1-6] answers with the packet id of the SUBSCRIBE and UNSUBSCRIBE", () =>
    answersSubscriptionsWithTheSameId(5));

  it("[MQTT-2.2.2-1] sends a property length where there are no properties", async () => {
    const topic = unique("t");
    await using client = await broker.connect(5);
    const suback = await client.subscribe(topic);
    assert.deepEqual(suback.properties, {});
    client.send(packets.publish(5, { topic, payload: "as it is" }));
    const { payload, properties } = await client.receive();
    assert.equal(payload, "as it is");
    assert.deepEqual(properties, {});
    assert.deepEqual((await client.unsubscribe(topic)).reasonCodes, [0]);
  });
});
