import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { setTimeout as delay } from "node:timers/promises";

import * as packets from "../support/packets.ts";
import { property } from "../support/packets.ts";
import type { RawClient } from "../support/raw-client.ts";
import type { Publish } from "../support/received.ts";
import { Broker, unique } from "../support/target.ts";

/** Section 4.8.2: shared subscriptions. */
const broker = new Broker();

function lasting(expirySeconds = 600): packets.ConnectOptions {
  const properties = [property.sessionExpiryInterval(expirySeconds)];
  return { clientId: unique("c"), clean: false, properties };
}

/** Whatever has arrived at the clients, not acknowledged. */
async function arrivals(...clients: RawClient[]): Promise<Publish[][]> {
  const received: Publish[][] = [];
  for (const client of clients) {
    await client.ping();
    const own: Publish[] = [];
    while (client.arrived === "publish") own.push(await client.expect("publish"));
    received.push(own);
  }
  return received;
}

describe("MQTT 5.0", { concurrency: true }, () => {
  it("[MQTT-4.8.2-1] [MQTT-4.8.2-2] refuses shared subscriptions without share name or filter, or with a wildcard in the name", async () => {
    for (const filter of [
      "$share//a",
      "$share/g",
      "$share/g/",
      "$share/+/a",
      "$share/g#/a",
      "$share/",
      "$share/g/a#",
    ]) {
      await using client = await broker.connect(5);
      client.send(packets.subscribe(5, 1, [[filter, 0]]));
      if ((await client.closesOrSends()) === "suback") {
        const { reasonCodes } = await client.expect("suback");
        if (broker.isOurs) assert.deepEqual(reasonCodes, [0x8f], filter);
        else assert.ok((reasonCodes[0] ?? 0) >= 0x80, `granted ${filter}`);
        continue;
      }
      assert.equal(broker.isOurs, false, filter);
      await broker.expectRefused(client);
    }
  });

  it("[MQTT-4.8.2-1] hands each message to one member, and every member its share", async () => {
    const topic = unique("t");
    await using first = await broker.connect(5);
    await using second = await broker.connect(5);
    await using third = await broker.connect(5);
    const members = [first, second, third];
    for (const member of members) await member.subscribe(`$share/g/${topic}/#`, 1);
    await using publisher = await broker.connect(5);
    const payloads = Array.from({ length: 30 }, (_, index) => `${index}`);
    for (const payload of payloads) await publisher.publish({ topic: `${topic}/x`, qos: 1, payload });
    const received = await arrivals(...members);
    const all = received.flat().map(({ payload }) => Number(payload));
    assert.deepEqual(all.sort((a, b) => a - b).map(String), payloads);
    for (const own of received) assert.ok(own.length >= 5, received.map(({ length }) => length).join(" "));
  });

  it("[MQTT-4.8.2-1] delivers to each group, and to subscriptions that are not shared", async () => {
    const topic = unique("t");
    await using client = await broker.connect(5);
    await client.subscribe(`$share/a/${topic}`, 0, [property.subscriptionIdentifier(1)]);
    await using other = await broker.connect(5);
    await other.subscribe(`$share/b/${topic}`, 0, [property.subscriptionIdentifier(2)]);
    await using ordinary = await broker.connect(5);
    await ordinary.subscribe(topic, 0, [property.subscriptionIdentifier(3)]);
    await using publisher = await broker.connect(5);
    await publisher.publish({ topic });
    const received = await arrivals(client, other, ordinary);
    const identifiers = received.map((own) =>
      own.map(({ properties }) => properties.subscriptionIdentifiers),
    );
    assert.deepEqual(identifiers, [[[1]], [[2]], [[3]]]);
  });

  it("sends no retained messages to a shared subscription", async () => {
    const topic = unique("t");
    await using client = await broker.connect(5);
    await client.publish({ topic, payload: "retained", qos: 1, retain: true });
    await client.subscribe(`$share/g/${topic}`, 1);
    await client.expectNothing();
    await client.publish({ topic, retain: true });
  });

  it("forgets a member that unsubscribes, under the filter as it was subscribed", async () => {
    const topic = unique("t");
    await using client = await broker.connect(5);
    await client.subscribe(`$share/g/${topic}`, 1);
    assert.deepEqual((await client.unsubscribe(topic, `$share/h/${topic}`)).reasonCodes, [0x11, 0x11]);
    assert.deepEqual((await client.unsubscribe(`$share/g/${topic}`)).reasonCodes, [0x00]);
    await client.publish({ topic, qos: 1 });
    await client.expectNothing();
  });

  it("[MQTT-4.8.2-3] delivers to each member at the QoS it was granted", async () => {
    const topic = unique("t");
    await using low = await broker.connect(5);
    await using high = await broker.connect(5);
    await low.subscribe(`$share/g/${topic}`, 0);
    await high.subscribe(`$share/g/${topic}`, 2);
    await using publisher = await broker.connect(5);
    for (let count = 0; count < 8; count += 1) await publisher.publish({ topic, qos: 1 });
    const [atLow = [], atHigh = []] = await arrivals(low, high);
    assert.equal(atLow.length + atHigh.length, 8);
    for (const { qos } of atLow) assert.equal(qos, 0);
    for (const { qos } of atHigh) assert.equal(qos, 1);
  });

  it("[MQTT-4.8.2-4] completes the delivery of a message at QoS 2 when its member is back", async () => {
    const topic = unique("t");
    const options = lasting();
    await using chosen = await broker.connect(5, options);
    await chosen.subscribe(`$share/g/${topic}`, 2);
    await using publisher = await broker.connect(5);
    await publisher.publish({ topic, qos: 2, payload: "for the chosen one" });
    const sent = await chosen.expect("publish");
    await using other = await broker.connect(5);
    await other.subscribe(`$share/g/${topic}`, 2);
    await chosen.drop();
    await other.expectNothing();
    await using back = await broker.connect(5, options);
    assert.deepEqual(await back.receive(), { ...sent, dup: true });
    await other.expectNothing();
  });

  it("[MQTT-4.8.2-5] does not hand a message at QoS 2 on when the session of its member ends", async () => {
    const topic = unique("t");
    await using chosen = await broker.connect(5, lasting(1));
    await chosen.subscribe(`$share/g/${topic}`, 2);
    await using publisher = await broker.connect(5);
    await publisher.publish({ topic, qos: 2, payload: "for the chosen one" });
    await chosen.expect("publish");
    await using other = await broker.connect(5);
    await other.subscribe(`$share/g/${topic}`, 2);
    await chosen.drop();
    await delay(2_500);
    await other.expectNothing();
  });

  it("[MQTT-4.8.2-6] does not hand a message on that its member refused", async () => {
    const topic = unique("t");
    await using chosen = await broker.connect(5, lasting());
    await chosen.subscribe(`$share/g/${topic}`, 2);
    await using publisher = await broker.connect(5);
    await publisher.publish({ topic, qos: 1 });
    await publisher.publish({ topic, qos: 2 });
    const [one, two] = [await chosen.expect("publish"), await chosen.expect("publish")];
    await using other = await broker.connect(5);
    await other.subscribe(`$share/g/${topic}`, 2);
    chosen.send(packets.puback(one.packetId, { reasonCode: 0x83 }));
    chosen.send(packets.pubrec(two.packetId, { reasonCode: 0x83 }));
    await chosen.expectNothing();
    await other.expectNothing();
  });

  it(
    "hands messages at QoS 1 over to another member when the session of theirs ends",
    { skip: broker.unlessOurs("the specification only recommends it") },
    async () => {
      const topic = unique("t");
      await using leaving = await broker.connect(5, { properties: [property.receiveMaximum(2)] });
      await leaving.subscribe(`$share/g/${topic}`, 1);
      await using publisher = await broker.connect(5);
      const payloads = ["0", "1", "2", "3", "4"];
      for (const payload of payloads) await publisher.publish({ topic, qos: 1, payload });
      await leaving.expect("publish");
      await leaving.expect("publish");
      await using staying = await broker.connect(5);
      await staying.subscribe(`$share/g/${topic}`, 1);
      await leaving.drop();
      assert.deepEqual((await staying.receivePayloads(5)).sort(), payloads);
    },
  );

  it(
    "hands messages at QoS 1 over to another member when a session that outlived its connection ends",
    { skip: broker.unlessOurs("the specification only recommends it") },
    async () => {
      const topic = unique("t");
      const properties = [property.sessionExpiryInterval(1), property.receiveMaximum(2)];
      await using leaving = await broker.connect(5, { properties });
      await leaving.subscribe(`$share/g/${topic}`, 1);
      await using publisher = await broker.connect(5);
      const payloads = ["0", "1", "2", "3", "4"];
      for (const payload of payloads) await publisher.publish({ topic, qos: 1, payload });
      await leaving.expect("publish");
      await leaving.expect("publish");
      await using staying = await broker.connect(5);
      await staying.subscribe(`$share/g/${topic}`, 1);
      await leaving.drop();
      assert.deepEqual((await staying.receivePayloads(5)).sort(), payloads);
    },
  );

  it(
    "prefers members that are connected",
    { skip: broker.unlessOurs("the specification leaves the choice to the broker") },
    async () => {
      const topic = unique("t");
      await using away = await broker.connect(5, lasting());
      await away.subscribe(`$share/g/${topic}`, 1);
      await using here = await broker.connect(5);
      await here.subscribe(`$share/g/${topic}`, 1);
      await away.disconnect();
      await using publisher = await broker.connect(5);
      const payloads = Array.from({ length: 10 }, (_, index) => `${index}`);
      for (const payload of payloads) await publisher.publish({ topic, qos: 1, payload });
      assert.deepEqual(await here.receivePayloads(10), payloads);
    },
  );
});
