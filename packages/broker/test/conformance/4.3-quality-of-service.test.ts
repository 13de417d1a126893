import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { setTimeout as delay } from "node:timers/promises";

import * as packets from "../support/packets.ts";
import { property, type ConnectOptions, type QoS, type Version } from "../support/packets.ts";
import { Broker, unique } from "../support/target.ts";

/** Sections 4.3 and 4.4: the delivery protocols, and delivery after a reconnect. */
const broker = new Broker();

function lasting(version: Version): ConnectOptions {
  const properties = version === 5 ? [property.sessionExpiryInterval(600)] : [];
  return { clientId: unique("c"), clean: false, properties };
}

async function sendsFreshMessagesWithoutDup(version: Version, qos: QoS): Promise<void> {
  const topic = unique("t");
  await using client = await broker.connect(version);
  await client.subscribe(topic, qos);
  const ids = new Set<number>();
  for (let count = 0; count < 3; count += 1) {
    await client.publish({ topic, qos });
    const publish = await client.take("publish");
    assert.equal(publish.qos, qos);
    assert.equal(publish.dup, false);
    ids.add(publish.packetId);
  }
  assert.equal(ids.size, qos === 0 ? 1 : 3);
}

async function repeatsQoS1UntilPuback(version: Version): Promise<void> {
  const topic = unique("t");
  const options = lasting(version);
  await using first = await broker.connect(version, options);
  await first.subscribe(topic, 1);
  await using publisher = await broker.connect(version);
  await publisher.publish({ topic, qos: 1, payload: "again and again" });
  const sent = await first.expect("publish");
  await first.drop();
  for (let round = 0; round < 2; round += 1) {
    await using away = await broker.connect(version, options);
    assert.deepEqual(await away.expect("publish"), { ...sent, dup: true });
    await away.drop();
  }
  await using back = await broker.connect(version, options);
  await back.receive();
  await back.ping();
  await back.drop();
  await using done = await broker.connect(version, options);
  await done.expectNothing();
}

async function takesReusedIdsAsNewMessages(version: Version): Promise<void> {
  const topic = unique("t");
  await using subscriber = await broker.connect(version);
  await subscriber.subscribe(topic, 2);
  await using publisher = await broker.connect(version);
  for (const [index, dup] of [false, true, true].entries()) {
    publisher.send(packets.publish(version, { topic, qos: 1, packetId: 7, dup, payload: `1-${index}` }));
    await publisher.expect("puback");
    publisher.send(packets.publish(version, { topic, qos: 2, packetId: 7, dup, payload: `2-${index}` }));
    await publisher.expect("pubrec");
    publisher.send(packets.pubrel(7));
    await publisher.expect("pubcomp");
  }
  const expected = ["1-0", "1-1", "1-2", "2-0", "2-1", "2-2"];
  assert.deepEqual((await subscriber.receivePayloads(6)).sort(), expected);
}

/** The broker as sender: PUBLISH until PUBREC, then PUBREL until PUBCOMP, and never PUBLISH again. */
async function seesQoS2Through(version: Version): Promise<void> {
  const topic = unique("t");
  const options = lasting(version);
  await using first = await broker.connect(version, options);
  await first.subscribe(topic, 2);
  await using publisher = await broker.connect(version);
  await publisher.publish({ topic, qos: 2, payload: "exactly once" });
  const sent = await first.expect("publish");
  await first.drop();
  await using second = await broker.connect(version, options);
  assert.deepEqual(await second.expect("publish"), { ...sent, dup: true });
  second.send(packets.pubrec(sent.packetId));
  assert.equal((await second.expect("pubrel")).packetId, sent.packetId);
  await second.drop();
  for (let round = 0; round < 2; round += 1) {
    await using away = await broker.connect(version, options);
    assert.equal((await away.expect("pubrel")).packetId, sent.packetId);
    await away.expectNothing();
    await away.drop();
  }
  await using back = await broker.connect(version, options);
  assert.equal((await back.expect("pubrel")).packetId, sent.packetId);
  back.send(packets.pubcomp(sent.packetId));
  await back.ping();
  await back.drop();
  await using done = await broker.connect(version, options);
  await done.expectNothing();
}

/** The broker as receiver: PUBLISH with an id that was not released is the same message, on any connection. */
async function takesQoS2Once(version: Version): Promise<void> {
  const topic = unique("t");
  await using subscriber = await broker.connect(version);
  await subscriber.subscribe(topic, 2);
  const options = lasting(version);
  await using first = await broker.connect(version, options);
  const message = { topic, qos: 2, packetId: 77, payload: "exactly once" };
  first.send(packets.publish(version, message));
  assert.equal((await first.expect("pubrec")).packetId, 77);
  first.send(packets.publish(version, { ...message, dup: true }));
  assert.equal((await first.expect("pubrec")).packetId, 77);
  await first.drop();
  await using second = await broker.connect(version, options);
  second.send(packets.publish(version, { ...message, dup: true }));
  assert.equal((await second.expect("pubrec")).packetId, 77);
  second.send(packets.pubrel(77));
  assert.equal((await second.expect("pubcomp")).packetId, 77);
  second.send(packets.pubrel(77));
  assert.equal((await second.expect("pubcomp")).packetId, 77);
  assert.deepEqual(await subscriber.receivePayloads(1), ["exactly once"]);
  await subscriber.expectNothing();
}

/** Nothing is sent a second time on a connection, however long the client takes. */
async function repeatsNothingOnTheSameConnection(version: Version): Promise<void> {
  const topic = unique("t");
  await using client = await broker.connect(version, lasting(version));
  await client.subscribe(topic, 2);
  await using publisher = await broker.connect(version);
  for (const qos of [1, 2] as const) await publisher.publish({ topic, qos });
  await client.expect("publish");
  await client.expect("publish");
  await delay(2_500);
  await client.expectNothing();
}

/** In the state of a session: a message not acknowledged, one received and not completed, one not yet sent. */
async function resendsInOrder(version: Version): Promise<void> {
  const topic = unique("t");
  const options = lasting(version);
  await using first = await broker.connect(version, options);
  await first.subscribe(topic, 2);
  await using publisher = await broker.connect(version);
  for (const [index, qos] of ([2, 1, 2, 1, 1] as const).entries()) {
    await publisher.publish({ topic, qos, payload: `${index}` });
  }
  const sent = [];
  while (sent.length < 5) sent.push(await first.expect("publish"));
  first.send(packets.pubrec(sent[0]?.packetId ?? 0), packets.puback(sent[3]?.packetId ?? 0));
  await first.expect("pubrel");
  await first.disconnect();
  await publisher.publish({ topic, qos: 1, payload: "5" });
  await using second = await broker.connect(version, options);
  assert.equal((await second.take("pubrel")).packetId, sent[0]?.packetId);
  for (const index of [1, 2, 4])
    assert.deepEqual(await second.expect("publish"), { ...sent[index], dup: true });
  const { payload, dup } = await second.expect("publish");
  assert.deepEqual({ payload, dup }, { payload: "5", dup: false });
  await second.expectNothing();
}

describe("MQTT 3.1.1", { concurrency: true }, () => {
  it("[MQTT-4.3.1-1] sends PUBLISH at QoS 0 without DUP", () => sendsFreshMessagesWithoutDup(4, 0));

  it("[MQTT-4.3.2-1] sends PUBLISH at QoS 1 with a new id and without DUP, until PUBACK", async () => {
    await sendsFreshMessagesWithoutDup(4, 1);
    await repeatsQoS1UntilPuback(4);
  });

  it("[MQTT-4.3.2-2] acknowledges QoS 1, and takes the id for a new message afterwards", () =>
    takesReusedIdsAsNewMessages(4));

  it("[MQTT-4.3.3-1] sends PUBLISH at QoS 2 with a new id and without DUP, until PUBREC, then PUBREL until PUBCOMP", async () => {
    await sendsFreshMessagesWithoutDup(4, 2);
    await seesQoS2Through(4);
  });

  it("[MQTT-4.3.3-2] takes a message at QoS 2 once until it is released, then the id for a new one", async () => {
    await takesQoS2Once(4);
    await takesReusedIdsAsNewMessages(4);
  });

  it("[MQTT-4.4.0-1] sends what was not acknowledged again after a reconnect, in order and with the same ids", () =>
    resendsInOrder(4));

  it("sends nothing again on the same connection", () => repeatsNothingOnTheSameConnection(4));
});

describe("MQTT 5.0", { concurrency: true }, () => {
  it("[MQTT-4.3.1-1] sends PUBLISH at QoS 0 without DUP", () => sendsFreshMessagesWithoutDup(5, 0));

  it("[MQTT-4.3.2-1] [MQTT-4.3.2-2] sends PUBLISH at QoS 1 with a new id and without DUP", () =>
    sendsFreshMessagesWithoutDup(5, 1));

  it("[MQTT-4.3.2-3] keeps PUBLISH at QoS 1 until PUBACK", () => repeatsQoS1UntilPuback(5));

  it("[MQTT-4.3.2-4] [MQTT-4.3.2-5] acknowledges QoS 1, and takes the id for a new message afterwards", () =>
    takesReusedIdsAsNewMessages(5));

  it("[MQTT-4.3.3-1] [MQTT-4.3.3-2] sends PUBLISH at QoS 2 with a new id and without DUP", () =>
    sendsFreshMessagesWithoutDup(5, 2));

  it("[MQTT-4.3.3-3] [MQTT-4.3.3-4] [MQTT-4.3.3-5] [MQTT-4.3.3-6] keeps PUBLISH until PUBREC, then PUBREL until PUBCOMP", () =>
    seesQoS2Through(5));

  it("[MQTT-4.3.3-7] does not let a message expire once it was sent at QoS 2", async () => {
    const topic = unique("t");
    const options = lasting(5);
    await using first = await broker.connect(5, options);
    await first.subscribe(topic, 2);
    const properties = [property.messageExpiryInterval(1)];
    await using publisher = await broker.connect(5);
    await publisher.publish({ topic, qos: 2, payload: "under way", properties });
    const { packetId } = await first.expect("publish");
    await first.drop();
    await delay(1_500);
    await using second = await broker.connect(5, options);
    const again = await second.receive();
    assert.deepEqual([again.payload, again.dup, again.packetId], ["under way", true, packetId]);
  });

  it("[MQTT-4.3.3-8] [MQTT-4.3.3-10] [MQTT-4.3.3-11] takes a message at QoS 2 once until it is released", () =>
    takesQoS2Once(5));

  it(
    "[MQTT-4.3.3-9] takes the id of a message it refused for a new one",
    { skip: broker.unlessOurs("what the broker under test forbids is not known") },
    async () => {
      const topic = unique("t");
      await using client = await broker.connect(5);
      await client.subscribe(topic, 2);
      client.send(packets.publish(5, { topic: "$SYS/broker/version", qos: 2, packetId: 9 }));
      assert.equal((await client.expect("pubrec")).reasonCode, 0x87);
      client.send(packets.publish(5, { topic, qos: 2, packetId: 9, payload: "new" }));
      assert.equal((await client.take("pubrec")).reasonCode, 0);
      assert.equal((await client.expect("publish")).payload, "new");
    },
  );

  it("[MQTT-4.3.3-12] takes the id of a completed message for a new one", () =>
    takesReusedIdsAsNewMessages(5));

  it("[MQTT-4.3.3-13] completes the exchange of a message that has expired", async () => {
    await using client = await broker.connect(5);
    const properties = [property.messageExpiryInterval(1)];
    client.send(packets.publish(5, { topic: unique("t"), qos: 2, packetId: 1, properties }));
    await client.expect("pubrec");
    await delay(1_500);
    client.send(packets.pubrel(1));
    const { packetId, reasonCode } = await client.expect("pubcomp");
    assert.deepEqual([packetId, reasonCode], [1, 0]);
  });

  it("[MQTT-4.4.0-1] sends what was not acknowledged again after a reconnect, in order and with the same ids", () =>
    resendsInOrder(5));

  it("[MQTT-4.4.0-1] sends nothing again on the same connection", () => repeatsNothingOnTheSameConnection(5));

  it("[MQTT-4.4.0-2] does not send a message again that the client refused", async () => {
    const topic = unique("t");
    const options = lasting(5);
    await using first = await broker.connect(5, options);
    await first.subscribe(topic, 2);
    await using publisher = await broker.connect(5);
    await publisher.publish({ topic, qos: 1 });
    await publisher.publish({ topic, qos: 2 });
    first.send(packets.puback((await first.expect("publish")).packetId, { reasonCode: 0x80 }));
    first.send(packets.pubrec((await first.expect("publish")).packetId, { reasonCode: 0x97 }));
    await first.expectNothing();
    await first.drop();
    await using second = await broker.connect(5, options);
    await second.expectNothing();
  });
});
