import assert from "node:assert/strict";
import { describe, it } from "node:test";

import * as packets from "../support/packets.ts";
import { property, type Version } from "../support/packets.ts";
import { Broker, unique } from "../support/target.ts";

/** Section 3.2: CONNACK. */
const broker = new Broker();
const keepForever = [property.sessionExpiryInterval(0xff_ff_ff_ff)];

function lasting(version: Version): packets.ConnectOptions {
  return { clientId: unique("c"), clean: false, properties: version === 5 ? keepForever : [] };
}

/** A resumed session has messages waiting, and yet CONNACK comes first and once. */
async function sendsConnackFirst(version: Version): Promise<void> {
  const options = lasting(version);
  const topic = unique("t");
  await using first = await broker.connect(version, options);
  await first.subscribe(topic, 1);
  await first.drop();
  await using publisher = await broker.connect(version);
  for (let count = 0; count < 3; count += 1) await publisher.publish({ topic, qos: 1 });
  await using second = await broker.open(version);
  second.send(packets.connect(version, options), packets.pingreq);
  await second.expect("connack");
  for (let count = 0; count < 3; count += 1) assert.equal((await second.take("publish")).topic, topic);
  await second.expect("pingresp");
  await second.expectNothing();
}

async function saysNoSessionAfterCleanStart(version: Version): Promise<void> {
  const options = lasting(version);
  await using first = await broker.connect(version, options);
  await first.drop();
  await using second = await broker.connect(version, { ...options, clean: true });
  assert.equal(second.connack.sessionPresent, false);
}

async function saysWhetherThereWasASession(version: Version): Promise<void> {
  const options = lasting(version);
  await using first = await broker.connect(version, options);
  assert.equal(first.connack.sessionPresent, false);
  await first.drop();
  await using second = await broker.connect(version, options);
  assert.equal(second.connack.sessionPresent, true);
}

/** Refused for its protocol level, under the client id of a session that exists. */
async function refusesWithoutSessionPresent(version: Version): Promise<void> {
  const options = lasting(version);
  await using first = await broker.connect(version, options);
  await first.drop();
  await using second = await broker.open(4);
  second.send(packets.connect(version, { ...options, protocolLevel: 9 }));
  if ((await second.closesOrSends()) === "connack") {
    const connack = await second.expect("connack");
    assert.notEqual(connack.reasonCode, 0);
    assert.equal(connack.sessionPresent, false);
  }
  await second.expectClosed();
}

describe("MQTT 3.1.1", { concurrency: true }, () => {
  it("[MQTT-3.2.0-1] sends CONNACK before anything else", () => sendsConnackFirst(4));

  it("[MQTT-3.2.2-1] says that there is no session after Clean Session 1", () =>
    saysNoSessionAfterCleanStart(4));

  it("[MQTT-3.2.2-2] [MQTT-3.2.2-3] says whether there was a session", () => saysWhetherThereWasASession(4));

  it("[MQTT-3.2.2-4] [MQTT-3.2.2-5] refuses without Session Present, and closes", () =>
    refusesWithoutSessionPresent(4));

  it("[MQTT-3.2.2-6] closes without CONNACK where no return code applies", async () => {
    await using client = await broker.open(4);
    client.send(packets.connect(4, { clientId: unique("c"), flags: 0x03 }));
    await client.expectClosed();
  });
});

describe("MQTT 5.0", { concurrency: true }, () => {
  it("[MQTT-3.2.0-1] sends CONNACK before anything else", () => sendsConnackFirst(5));

  it("[MQTT-3.2.0-2] sends one CONNACK", async () => {
    const clientId = unique("c");
    await using client = await broker.connect(5, { clientId });
    client.send(packets.connect(5, { clientId }));
    await broker.expectRefused(client, 0x82);
  });

  it("[MQTT-3.2.2-1] sets no reserved CONNACK flag", async () => {
    const options = lasting(5);
    for (const sessionPresent of [false, true]) {
      await using client = await broker.connect(5, options);
      assert.equal(client.connack.sessionPresent, sessionPresent);
    }
  });

  it("[MQTT-3.2.2-2] says that there is no session after Clean Start 1", () =>
    saysNoSessionAfterCleanStart(5));

  it("[MQTT-3.2.2-3] says whether there was a session", () => saysWhetherThereWasASession(5));

  it("[MQTT-3.2.2-6] refuses without Session Present", () => refusesWithoutSessionPresent(5));

  it(
    "[MQTT-3.2.2-7] [MQTT-3.2.2-8] closes after a CONNACK with an error of the table",
    { skip: broker.unlessOurs("the broker under test may take every client id") },
    async () => {
      await using client = await broker.open(5);
      client.send(packets.connect(5, { clientId: "x".repeat(600) }));
      const { reasonCode } = await client.expect("connack");
      assert.equal(reasonCode, 0x85);
      await client.expectClosed();
    },
  );

  it("[MQTT-3.2.2-9] [MQTT-3.2.2-10] [MQTT-3.2.2-12] announces the highest QoS it takes, and takes it", async () => {
    const topic = unique("t");
    await using client = await broker.connect(5, { will: { topic: unique("w"), qos: 2 } });
    assert.equal(client.connack.properties.maximumQoS, undefined);
    assert.deepEqual((await client.subscribe([`${topic}/0`, `${topic}/1`], 2)).reasonCodes, [2, 2]);
    assert.equal(await client.publish({ topic: `${topic}/0`, qos: 2 }), 0);
    await client.disconnect();
  });

  it("[MQTT-3.2.2-13] takes a retained will, since it announces retained messages", async () => {
    await using client = await broker.connect(5, { will: { topic: unique("w"), retain: true } });
    assert.notEqual(client.connack.properties.retainAvailable, 0);
    await client.disconnect();
  });

  it(
    "[MQTT-3.2.2-15] refuses a packet larger than its Maximum Packet Size with 0x95",
    { skip: broker.lacks("limited") },
    async () => {
      const topic = unique("t");
      await using client = await broker.connect(5, {}, "limited");
      assert.equal(client.connack.properties.maximumPacketSize, 2_048);
      const atLimit = 2_048 - 3 - 2 - topic.length - 1;
      await client.publish({ topic, payload: "x".repeat(atLimit) });
      client.send(packets.publish(5, { topic, payload: "x".repeat(atLimit + 1) }));
      await broker.expectRefused(client, 0x95);
    },
  );

  it("[MQTT-3.2.2-17] refuses a topic alias above its Topic Alias Maximum with 0x94", async () => {
    await using client = await broker.connect(5);
    const topicAlias = (client.connack.properties.topicAliasMaximum ?? 0) + 1;
    client.send(packets.publish(5, { topic: unique("t"), properties: [property.topicAlias(topicAlias)] }));
    await broker.expectRefused(client, 0x94);
  });

  it("[MQTT-3.2.2-19] [MQTT-3.2.2-20] keeps CONNACK within the client's Maximum Packet Size", async () => {
    for (const maximum of [5, 24]) {
      for (const clientId of [unique("c"), "x".repeat(600)]) {
        await using client = await broker.open(5, "plain", maximum);
        const properties = [property.maximumPacketSize(maximum)];
        client.send(packets.connect(5, { clientId, properties }));
        if ((await client.closesOrSends()) === "connack") await client.expect("connack");
      }
    }
  });

  it("[MQTT-3.1.2-24] [MQTT-3.14.0-1] sends a client nothing when no CONNACK is small enough for it", async () => {
    const small = [property.requestProblemInformation(0), property.sessionExpiryInterval(60)];
    for (const maximum of [1, 3, 4]) {
      for (const clientId of ["", unique("c"), "x".repeat(600)]) {
        await using client = await broker.open(5, "plain", maximum);
        const properties = [property.maximumPacketSize(maximum), ...small];
        client.send(packets.connect(5, { clientId, properties }));
        await client.expectClosed();
      }
    }
  });

  it("[MQTT-3.14.0-1] sends no DISCONNECT in the place of a CONNACK that is too large for the client", async () => {
    const properties = [property.maximumPacketSize(10), property.requestProblemInformation(0)];
    await using client = await broker.open(5, "plain", 10);
    client.send(packets.connect(5, { clientId: "", properties }));
    await broker.expectNotConnected(client, 0x95);
  });

  it("[MQTT-3.2.2-7] publishes no will of a client that could not be sent CONNACK", async () => {
    const topic = unique("w");
    await using watcher = await broker.connect(5);
    await watcher.subscribe(topic);
    await using client = await broker.open(5, "plain", 10);
    const properties = [property.maximumPacketSize(10)];
    client.send(packets.connect(5, { clientId: "", properties, will: { topic, payload: "never let in" } }));
    await broker.expectNotConnected(client, 0x95);
    await watcher.expectNothing();
  });

  it(
    "[MQTT-3.2.2-22] announces its limits",
    { skip: broker.unlessOurs("the limits of the broker under test are not known") },
    async () => {
      await using client = await broker.connect(5, { keepAliveSeconds: 60 });
      assert.deepEqual(client.connack.properties, {
        receiveMaximum: 256,
        topicAliasMaximum: 32,
        maximumPacketSize: 1_048_576,
      });
      await using limited = await broker.connect(5, { keepAliveSeconds: 60 }, "limited");
      assert.deepEqual(limited.connack.properties, {
        receiveMaximum: 3,
        topicAliasMaximum: 3,
        maximumPacketSize: 2_048,
        serverKeepAlive: 2,
      });
    },
  );
});
