import assert from "node:assert/strict";
import { describe, it } from "node:test";

import { concat, field, packet, raw, u16 } from "../support/bytes.ts";
import * as packets from "../support/packets.ts";
import { Broker, unique } from "../support/target.ts";

/** MQTT 3.1 (MQIsdp, level 3) where it differs from 3.1.1; the specification of 2010 has no numbered statements. */
const broker = new Broker();

describe("MQTT 3.1", { concurrency: true }, () => {
  it("is spoken under the protocol name MQIsdp and level 3", async () => {
    const topic = unique("t");
    await using client = await broker.connect(3);
    await client.subscribe(topic, 2);
    for (const qos of [0, 1, 2] as const) {
      await client.publish({ topic, qos, payload: `${qos}` });
      const publish = await client.take("publish");
      assert.deepEqual([publish.payload, publish.qos], [`${qos}`, qos]);
      await client.acknowledge(publish);
    }
    await client.unsubscribe(topic);
    await client.expectNothing();
    await client.disconnect();
  });

  it("meets 3.1.1 and 5.0 on the same topics", async () => {
    const topic = unique("t");
    await using old = await broker.connect(3);
    await using middle = await broker.connect(4);
    await using young = await broker.connect(5);
    for (const client of [old, middle, young]) await client.subscribe(topic, 1);
    for (const publisher of [old, middle, young]) {
      await publisher.publish({ topic, qos: 1, payload: `from ${publisher.version}` });
      for (const client of [old, middle, young]) {
        const publish = await client.take("publish");
        await client.acknowledge(publish);
        assert.equal(publish.payload, `from ${publisher.version}`);
      }
    }
  });

  it("does not go with the name of the other versions, nor they with its own", async () => {
    for (const [protocolName, protocolLevel] of [
      ["MQTT", 3],
      ["MQIsdp", 4],
      ["MQIsdp", 5],
    ] as const) {
      await using client = await broker.open(4);
      client.send(packets.connect(4, { clientId: unique("c"), protocolName, protocolLevel }));
      if ((await client.closesOrSends()) === "connack") {
        assert.equal((await client.expect("connack")).reasonCode, 1);
      }
      await client.expectClosed();
    }
  });

  it("keeps a session, though its CONNACK cannot say so", async () => {
    const options = { clientId: unique("c"), clean: false };
    const topic = unique("t");
    await using first = await broker.connect(3, options);
    await first.subscribe(topic, 1);
    await first.disconnect();
    await using publisher = await broker.connect(3);
    await publisher.publish({ topic, qos: 1, payload: "kept" });
    await using second = await broker.connect(3, options);
    if (broker.isOurs) assert.equal(second.connack.sessionPresent, false);
    assert.equal((await second.receive()).payload, "kept");
  });

  it("publishes wills and retained messages", async () => {
    const topic = unique("w");
    await using watcher = await broker.connect(3);
    await watcher.subscribe(topic, 1);
    const will = { topic, payload: "will", qos: 1, retain: true };
    await using client = await broker.connect(3, { will, username: "user", password: "password" });
    await client.drop();
    assert.equal((await watcher.receive()).payload, "will");
    await using later = await broker.connect(3);
    await later.subscribe(topic, 1);
    const { payload, retain } = await later.receive();
    assert.deepEqual([payload, retain], ["will", true]);
    await later.publish({ topic, retain: true });
  });

  it(
    "may set DUP on SUBSCRIBE, UNSUBSCRIBE and PUBREL that are sent again (MQTT 3.1 §2.1)",
    { skip: broker.unlessOurs("the broker under test may be stricter") },
    async () => {
      const topic = field(unique("t"));
      await using client = await broker.connect(3);
      client.send(packet(0x8a, u16(1), topic, raw(1)));
      assert.equal((await client.expect("suback")).packetId, 1);
      client.send(packet(0xaa, u16(2), topic));
      assert.equal((await client.expect("unsuback")).packetId, 2);
      client.send(packet(0x6a, u16(3)));
      assert.equal((await client.expect("pubcomp")).packetId, 3);
    },
  );

  it(
    "may announce a user name and password and leave them out (MQTT 3.1 §3.1)",
    { skip: broker.unlessOurs("the broker under test may be stricter") },
    async () => {
      await using client = await broker.open(3);
      await client.connect({ clientId: unique("c"), flags: 0xc2 });
      await client.ping();
    },
  );

  it("closes the connection on what is malformed", async () => {
    const good = packets.connect(3, { clientId: unique("c") });
    for (const bytes of [
      concat(raw(0x1f), good.subarray(1)),
      packet(0x10, good.subarray(2, -1)),
      packet(0x10),
    ]) {
      await using client = await broker.open(3);
      client.send(bytes);
      await client.expectClosed();
    }
    for (const bytes of [packets.publish(3, { topic: "a/#" }), raw(0x36, 0), raw(0xf0, 0), raw(0x82, 0)]) {
      await using client = await broker.connect(3);
      client.send(bytes);
      await client.expectClosed();
    }
  });
});
