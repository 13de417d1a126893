import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { setTimeout as delay } from "node:timers/promises";

import { MemorySessionStore } from "@postern/store/memory-session-store";

import { concat, field, packet, raw, u16 } from "../support/bytes.ts";
import * as packets from "../support/packets.ts";
import { property, type Version } from "../support/packets.ts";
import { Broker, unique } from "../support/target.ts";

/** Section 4.13, and 4.8 of MQTT 3.1.1: what happens to a client that breaks the protocol. */
const broker = new Broker();

/** A store whose disk is full for a while. */
class FullDiskStore extends MemorySessionStore {
  isFull = false;

  override commit(done: (error: Error | undefined) => void): void {
    if (this.isFull) queueMicrotask(() => done(new Error("no space left on device")));
    else super.commit(done);
  }
}

const fullDisk = new FullDiskStore();
const brokerOnFullDisk = new Broker({ store: fullDisk });

/** Packets a client never sends, types that do not exist, lengths that do not fit. */
async function closesOnProtocolViolations(version: Version): Promise<void> {
  const topic = unique("t");
  const wrong = [
    raw(0x00, 0),
    packet(0x20, raw(0, 0)),
    packet(0x90, u16(1), raw(0)),
    packet(0xb0, u16(1)),
    raw(0xd0, 0),
    packet(0x40, raw(1)),
    packet(0x62),
    raw(0x30, 0xff, 0xff, 0xff, 0xff, 0x7f),
    packet(0x82, u16(1), packets.propertiesOf(version), u16(200), raw(0x61)),
    packets.publish(version, { topic: `${topic}/#` }),
  ];
  for (const bytes of wrong) {
    await using client = await broker.connect(version);
    client.send(bytes);
    await broker.expectRefused(client, 0x81, 0x82, 0x90);
  }
}

/** The error of one connection is nobody else's. */
async function harmsNobodyElse(version: Version): Promise<void> {
  const topic = unique("t");
  const properties = version === 5 ? [property.sessionExpiryInterval(600)] : [];
  const options = { clientId: unique("c"), clean: false, properties };
  await using honest = await broker.connect(version);
  await honest.subscribe(topic);
  await using offender = await broker.connect(version, options);
  await offender.subscribe(topic, 1);
  offender.send(packets.publish(version, { topic, payload: "good" }), raw(0x00, 0));
  assert.equal((await honest.receive()).payload, "good");
  await honest.ping();
  await using back = await broker.connect(version, options);
  assert.equal(back.connack.sessionPresent, true);
}

describe("MQTT 3.1.1", { concurrency: true }, () => {
  it("[MQTT-4.8.0-1] closes the connection on a protocol violation", () => closesOnProtocolViolations(4));

  it("[MQTT-4.8.0-1] keeps the session of the offender and the connections of others", () =>
    harmsNobodyElse(4));

  it("[MQTT-4.8.0-2] neither acknowledges nor loses a message that cannot be stored now", async () => {
    const options = { clientId: unique("c"), clean: false };
    const topic = unique("t");
    await using subscriber = await brokerOnFullDisk.connect(4, options);
    await subscriber.subscribe(topic, 1);
    await subscriber.disconnect();
    await using publisher = await brokerOnFullDisk.connect(4);
    fullDisk.isFull = true;
    publisher.send(packets.publish(4, { topic, qos: 1, packetId: 1, payload: "kept" }));
    await delay(300);
    assert.equal(publisher.arrived, undefined);
    await using refused = await brokerOnFullDisk.open(4);
    refused.send(packets.connect(4, { clientId: unique("c") }));
    assert.equal((await refused.expect("connack")).reasonCode, 3);
    await refused.expectClosed();
    fullDisk.isFull = false;
    assert.equal((await publisher.expect("puback")).packetId, 1);
    await using back = await brokerOnFullDisk.connect(4, options);
    assert.equal((await back.receive()).payload, "kept");
  });
});

describe("MQTT 5.0", { concurrency: true }, () => {
  it("[MQTT-4.13.1-1] closes the connection on a malformed packet or protocol error", () =>
    closesOnProtocolViolations(5));

  it("[MQTT-4.13.2-1] keeps the session of the offender and the connections of others", () =>
    harmsNobodyElse(5));

  it("[MQTT-4.13.1-1] closes the connection on a property that comes twice", async () => {
    const topic = unique("t");
    const twice = [
      property.payloadFormatIndicator(1),
      property.messageExpiryInterval(1),
      property.topicAlias(1),
      property.responseTopic("r"),
      property.correlationData("c"),
      property.contentType("c"),
    ];
    for (const once of twice) {
      await using client = await broker.connect(5);
      client.send(packets.publish(5, { topic, properties: [once, once] }));
      await broker.expectRefused(client, 0x81, 0x82);
    }
    const twiceInConnect = [
      property.sessionExpiryInterval(1),
      property.receiveMaximum(1),
      property.maximumPacketSize(100),
      property.topicAliasMaximum(1),
      property.requestResponseInformation(0),
      property.requestProblemInformation(1),
      property.authenticationMethod("m"),
    ];
    for (const once of twiceInConnect) {
      await using client = await broker.open(5);
      client.send(packets.connect(5, { clientId: unique("c"), properties: [once, once] }));
      await broker.expectNotConnected(client, 0x81, 0x82);
    }
  });

  it("[MQTT-4.13.1-1] closes the connection on a property that does not belong to its packet", async () => {
    const topic = unique("t");
    const foreign = [
      property.sessionExpiryInterval(1),
      property.reasonString("r"),
      property.willDelayInterval(1),
    ];
    for (const wrong of [...foreign, raw(0x00), raw(0x7f, 1), raw(0x2b, 1)]) {
      await using client = await broker.connect(5);
      client.send(packets.publish(5, { topic, properties: [wrong] }));
      await broker.expectRefused(client, 0x81, 0x82);
    }
    await using subscriber = await broker.connect(5);
    subscriber.send(packets.subscribe(5, 1, [[topic, 0]], [property.topicAlias(1)]));
    await broker.expectRefused(subscriber, 0x81, 0x82);
  });

  it("[MQTT-4.13.1-1] closes the connection on a property value out of range", async () => {
    const topic = unique("t");
    await using client = await broker.connect(5);
    client.send(packets.publish(5, { topic, properties: [property.payloadFormatIndicator(2)] }));
    await broker.expectRefused(client, 0x81, 0x82);
    const wrong = [
      property.receiveMaximum(0),
      property.maximumPacketSize(0),
      property.requestProblemInformation(2),
      property.requestResponseInformation(2),
      property.authenticationData("without method"),
    ];
    for (const value of wrong) {
      await using refused = await broker.open(5);
      refused.send(packets.connect(5, { clientId: unique("c"), properties: [value] }));
      await broker.expectNotConnected(refused, 0x81, 0x82);
    }
    await using refused = await broker.open(5);
    const will = { topic, properties: [property.topicAlias(1)] };
    refused.send(packets.connect(5, { clientId: unique("c"), will }));
    await broker.expectNotConnected(refused, 0x81, 0x82);
  });

  it(
    "[MQTT-4.13.2-1] lets a client that is still writing read why it was disconnected",
    { skip: broker.unlessOurs("the specification does not ask for it") },
    async () => {
      const topic = unique("t");
      await using client = await broker.connect(5);
      client.send(packets.publish(5, { topic: `${topic}/#` }));
      for (let count = 0; count < 50; count += 1) {
        client.send(packets.publish(5, { topic, payload: "x".repeat(10_000) }));
      }
      await client.expectDisconnect(0x81, 0x82, 0x90);
      await client.expectClosed();
    },
  );

  it("takes packets that arrive byte by byte, and many that arrive together", async () => {
    const topic = unique("t");
    await using client = await broker.open(5);
    const connect = packets.connect(5, { clientId: unique("c") });
    for (const byte of connect) {
      client.send(raw(byte));
      await new Promise(setImmediate);
    }
    await client.expect("connack");
    await client.subscribe(topic);
    const many = Array.from({ length: 100 }, (_, index) =>
      packets.publish(5, { topic, payload: `${index}` }),
    );
    client.send(concat(...many, packet(0x30, field(topic), raw(0))).subarray(0, -1));
    client.send(raw(0));
    assert.equal((await client.receivePayloads(101)).length, 101);
  });
});
