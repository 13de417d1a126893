import assert from "node:assert/strict";
import { describe, it } from "node:test";

import { concat, raw, utf8 } from "../support/bytes.ts";
import * as packets from "../support/packets.ts";
import { property, type Version } from "../support/packets.ts";
import { Broker, unique } from "../support/target.ts";

/** Sections 3.10 and 3.11: UNSUBSCRIBE and UNSUBACK. */
const broker = new Broker();

async function refuses(version: Version, bytes: Uint8Array, ...reasonCodes: number[]): Promise<void> {
  await using client = await broker.connect(version);
  client.send(bytes);
  await broker.expectRefused(client, ...reasonCodes);
}

async function closesOnFlags(version: Version): Promise<void> {
  const good = packets.unsubscribe(version, 1, [unique("t")]);
  for (const flags of [0, 1, 3, 6, 10])
    await refuses(version, concat(raw(0xa0 | flags), good.subarray(1)), 0x81);
}

async function closesOnFilterThatIsNotUtf8(version: Version): Promise<void> {
  await refuses(version, packets.unsubscribe(version, 1, [raw(0x61, 0xff)]), 0x81);
  await refuses(version, packets.unsubscribe(version, 1, [utf8("a\0b")]), 0x81);
}

async function closesWithoutFilter(version: Version): Promise<void> {
  await refuses(version, packets.unsubscribe(version, 1, []), 0x81, 0x82);
}

/** Filters are compared as they are written: one that matches the same topics is another. */
async function comparesFiltersAsWritten(version: Version): Promise<void> {
  const id = unique("t");
  await using client = await broker.connect(version);
  await client.subscribe([`${id}/+`, `${id}/#`, `${id}/a`], 1);
  await client.unsubscribe(`${id}/b`, id, `${id}/+/`, `${id.toUpperCase()}/a`);
  await client.unsubscribe(`${id}/+`);
  await client.unsubscribe(`${id}/#`);
  await client.publish({ topic: `${id}/b`, qos: 1 });
  await client.expectNothing();
  await client.publish({ topic: `${id}/a`, qos: 1 });
  assert.equal((await client.receive()).topic, `${id}/a`);
  await client.unsubscribe(`${id}/a`);
  await client.publish({ topic: `${id}/a`, qos: 1 });
  await client.expectNothing();
}

async function deliversNothingNew(version: Version): Promise<void> {
  const topic = unique("t");
  await using client = await broker.connect(version);
  await client.subscribe(topic, 2);
  await client.unsubscribe(topic);
  await using publisher = await broker.connect(version);
  for (const qos of [0, 1, 2] as const) await publisher.publish({ topic, qos });
  await client.expectNothing();
}

/** What was sent and not acknowledged when the subscription ended is seen through, across connections. */
async function completesWhatItHadStarted(version: Version): Promise<void> {
  const topic = unique("t");
  const properties = version === 5 ? [property.sessionExpiryInterval(600)] : [];
  const options = { clientId: unique("c"), clean: false, properties };
  await using first = await broker.connect(version, options);
  await first.subscribe(topic, 2);
  await using publisher = await broker.connect(version);
  await publisher.publish({ topic, qos: 1, payload: "one" });
  await publisher.publish({ topic, qos: 2, payload: "two" });
  const one = await first.expect("publish");
  const two = await first.expect("publish");
  await first.unsubscribe(topic);
  await first.acknowledge(two);
  await first.expectNothing();
  await first.drop();
  await using second = await broker.connect(version, options);
  const again = await second.receive();
  assert.deepEqual(again, { ...one, dup: true });
  await second.expectNothing();
}

async function answersWithUnsuback(version: Version): Promise<void> {
  await using client = await broker.connect(version);
  client.send(packets.unsubscribe(version, 40_000, [unique("t")]));
  assert.equal((await client.expect("unsuback")).packetId, 40_000);
}

async function treatsFiltersAsASequence(version: Version): Promise<void> {
  const id = unique("t");
  await using client = await broker.connect(version);
  await client.subscribe([`${id}/a`, `${id}/b`, `${id}/c`]);
  const { reasonCodes } = await client.unsubscribe(`${id}/a`, `${id}/x`, `${id}/c`, `${id}/a`);
  if (version === 5) assert.deepEqual(reasonCodes, [0x00, 0x11, 0x00, 0x11]);
  for (const name of ["a", "c", "b"]) client.send(packets.publish(version, { topic: `${id}/${name}` }));
  assert.equal((await client.receive()).topic, `${id}/b`);
  await client.expectNothing();
}

describe("MQTT 3.1.1", { concurrency: true }, () => {
  it("[MQTT-3.10.1-1] closes the connection on an UNSUBSCRIBE with wrong flags", () => closesOnFlags(4));

  it("[MQTT-3.10.3-1] closes the connection on a filter that is not UTF-8", () =>
    closesOnFilterThatIsNotUtf8(4));

  it("[MQTT-3.10.3-2] closes the connection on an UNSUBSCRIBE without filter", () => closesWithoutFilter(4));

  it("[MQTT-3.10.4-1] compares filters as they are written", () => comparesFiltersAsWritten(4));

  it("[MQTT-3.10.4-2] delivers nothing new", () => deliversNothingNew(4));

  it("[MQTT-3.10.4-3] completes the delivery of what it had started to send", () =>
    completesWhatItHadStarted(4));

  it("[MQTT-3.10.4-4] [MQTT-3.10.4-5] answers with UNSUBACK of the same packet id, also where nothing was subscribed", () =>
    answersWithUnsuback(4));

  it("[MQTT-3.10.4-6] handles several filters as a sequence, with one UNSUBACK", () =>
    treatsFiltersAsASequence(4));
});

describe("MQTT 5.0", { concurrency: true }, () => {
  it("[MQTT-3.10.1-1] closes the connection on an UNSUBSCRIBE with wrong flags", () => closesOnFlags(5));

  it("[MQTT-3.10.3-1] closes the connection on a filter that is not UTF-8", () =>
    closesOnFilterThatIsNotUtf8(5));

  it("[MQTT-3.10.3-2] closes the connection on an UNSUBSCRIBE without filter", () => closesWithoutFilter(5));

  it("[MQTT-3.10.4-1] compares filters as they are written", () => comparesFiltersAsWritten(5));

  it("[MQTT-3.10.4-2] delivers nothing new", () => deliversNothingNew(5));

  it("[MQTT-3.10.4-3] completes the delivery of what it had started to send", () =>
    completesWhatItHadStarted(5));

  it("[MQTT-3.10.4-4] [MQTT-3.10.4-5] answers with UNSUBACK of the same packet id, also where nothing was subscribed", () =>
    answersWithUnsuback(5));

  it("[MQTT-3.10.4-6] [MQTT-3.11.3-1] [MQTT-3.11.3-2] handles several filters as a sequence, with a reason code for each", () =>
    treatsFiltersAsASequence(5));

  it("[MQTT-3.11.2-1] [MQTT-3.11.2-2] keeps UNSUBACK within the client's Maximum Packet Size", async () => {
    const maximum = 24;
    await using client = await broker.open(5, "plain", maximum);
    await client.connect({ clientId: unique("c"), properties: [property.maximumPacketSize(maximum)] });
    assert.deepEqual((await client.unsubscribe(unique("t"), "b")).reasonCodes, [0x11, 0x11]);
  });
});
