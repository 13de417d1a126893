import assert from "node:assert/strict";
import { describe, it } from "node:test";

import * as packets from "../support/packets.ts";
import { property, type QoS } from "../support/packets.ts";
import type { RawClient } from "../support/raw-client.ts";
import { Broker, unique } from "../support/target.ts";

/** Sections 3.1.2.11.3 to 3.1.2.11.4, 3.3.4 and 4.9: Receive Maximum and Maximum Packet Size, in both directions. */
const broker = new Broker();

async function publishNumbered(topic: string, qos: QoS, count: number): Promise<void> {
  await using publisher = await broker.connect(5);
  for (let index = 0; index < count; index += 1) await publisher.publish({ topic, qos, payload: `${index}` });
}

/** Receives as many messages as the broker sends before it waits for acknowledgements. */
async function receiveUntilItWaits(client: RawClient): Promise<number[]> {
  await client.ping();
  const ids: number[] = [];
  while (client.arrived === "publish") ids.push((await client.expect("publish")).packetId);
  return ids;
}

describe("MQTT 5.0", { concurrency: true }, () => {
  it("[MQTT-3.3.4-9] [MQTT-4.9.0-1] [MQTT-4.9.0-2] sends no more unacknowledged messages at QoS 1 than the client's Receive Maximum", async () => {
    const topic = unique("t");
    await using client = await broker.connect(5, { properties: [property.receiveMaximum(2)] });
    await client.subscribe(topic, 1);
    await publishNumbered(topic, 1, 5);
    const [first, second, ...more] = await receiveUntilItWaits(client);
    assert.ok(first !== undefined && second !== undefined);
    assert.deepEqual(more, []);
    client.send(packets.puback(second));
    assert.equal((await receiveUntilItWaits(client)).length, 1);
    client.send(packets.puback(first, { reasonCode: 0x80 }));
    assert.equal((await receiveUntilItWaits(client)).length, 1);
  });

  it("[MQTT-4.9.0-2] counts a message at QoS 2 until PUBCOMP, or until a PUBREC with an error", async () => {
    const topic = unique("t");
    await using client = await broker.connect(5, { properties: [property.receiveMaximum(1)] });
    await client.subscribe(topic, 2);
    await publishNumbered(topic, 2, 4);
    const [first = 0, ...more] = await receiveUntilItWaits(client);
    assert.deepEqual(more, []);
    client.send(packets.pubrec(first));
    assert.equal((await client.expect("pubrel")).packetId, first);
    await client.expectNothing();
    client.send(packets.pubcomp(first));
    const second = await client.expect("publish");
    assert.equal(second.payload, "1");
    client.send(packets.pubrec(second.packetId, { reasonCode: 0x80 }));
    assert.equal((await client.expect("publish")).payload, "2");
    await client.expectNothing();
  });

  it("[MQTT-3.3.4-9] holds to the Receive Maximum of the connection when it sends messages again", async () => {
    const topic = unique("t");
    const options = { clientId: unique("c"), clean: false };
    const expiry = property.sessionExpiryInterval(600);
    await using first = await broker.connect(5, { ...options, properties: [expiry] });
    await first.subscribe(topic, 2);
    await publishNumbered(topic, 1, 4);
    assert.equal((await receiveUntilItWaits(first)).length, 4);
    await first.drop();
    const properties = [expiry, property.receiveMaximum(2)];
    await using second = await broker.connect(5, { ...options, properties });
    const [one = 0, two = 0, ...more] = await receiveUntilItWaits(second);
    assert.deepEqual(more, []);
    second.send(packets.puback(one), packets.puback(two));
    assert.equal((await receiveUntilItWaits(second)).length, 2);
  });

  it("[MQTT-3.3.4-10] [MQTT-4.9.0-3] sends and answers everything else while it waits", async () => {
    const topic = unique("t");
    await using client = await broker.connect(5, { properties: [property.receiveMaximum(1)] });
    await client.subscribe(topic, 2);
    await publishNumbered(topic, 1, 3);
    await client.expect("publish");
    await client.subscribe(`${topic}/x`, 2);
    assert.equal((await client.publish({ topic: unique("t"), qos: 2 })) < 0x80, true);
    await client.unsubscribe(topic);
    await publishNumbered(`${topic}/x`, 0, 1);
    assert.equal((await client.expect("publish")).qos, 0);
    await client.expectNothing();
  });

  it(
    "[MQTT-3.3.4-7] closes the connection of a client that exceeds the Receive Maximum with 0x93",
    { skip: broker.lacks("limited") },
    async () => {
      const topic = unique("t");
      await using client = await broker.connect(5, {}, "limited");
      const maximum = client.connack.properties.receiveMaximum ?? 0xff_ff;
      assert.ok(maximum <= 256, `the Receive Maximum is ${maximum}`);
      const publish = (packetId: number) => packets.publish(5, { topic, qos: 2, packetId });
      for (let id = 1; id <= maximum; id += 1) client.send(publish(id));
      for (let id = 1; id <= maximum; id += 1) await client.expect("pubrec");
      client.send(publish(1));
      await client.expect("pubrec");
      client.send(packets.pubrel(1), publish(1));
      await client.expect("pubcomp");
      await client.expect("pubrec");
      client.send(publish(maximum + 1));
      await broker.expectRefused(client, 0x93);
    },
  );

  it("[MQTT-3.1.2-24] [MQTT-3.1.2-25] leaves out messages larger than the client's Maximum Packet Size, as if it had sent them", async () => {
    const topic = unique("t");
    const maximum = 100;
    await using client = await broker.open(5, "plain", maximum);
    const properties = [property.maximumPacketSize(maximum), property.receiveMaximum(1)];
    await client.connect({ clientId: unique("c"), properties });
    await client.subscribe(topic, 2);
    await using publisher = await broker.connect(5);
    const exact = maximum - 2 - 2 - topic.length - 2 - 1;
    for (const qos of [0, 1, 2] as const) {
      const headerless = qos === 0 ? exact + 2 : exact;
      for (const size of [headerless + 1, 1_000, headerless]) {
        await publisher.publish({ topic, qos, payload: "x".repeat(size) });
      }
      assert.equal((await client.receive()).payload.length, headerless);
      await client.expectNothing();
    }
  });

  it("[MQTT-3.1.2-25] drops a queued message that is too large for the client that comes back", async () => {
    const topic = unique("t");
    const options = { clientId: unique("c"), clean: false };
    const expiry = property.sessionExpiryInterval(600);
    await using first = await broker.connect(5, { ...options, properties: [expiry] });
    await first.subscribe(topic, 1);
    await first.disconnect();
    await using publisher = await broker.connect(5);
    for (const payload of ["x".repeat(500), "small"]) await publisher.publish({ topic, qos: 1, payload });
    await using second = await broker.open(5, "plain", 200);
    await second.connect({ ...options, properties: [expiry, property.maximumPacketSize(200)] });
    assert.equal((await second.receive()).payload, "small");
    await second.expectNothing();
  });
});
