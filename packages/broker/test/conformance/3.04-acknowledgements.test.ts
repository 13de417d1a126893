import assert from "node:assert/strict";
import { describe, it } from "node:test";

import { packet, raw, u16 } from "../support/bytes.ts";
import * as packets from "../support/packets.ts";
import { property, type Version } from "../support/packets.ts";
import { Broker, unique } from "../support/target.ts";

/** Sections 3.4 to 3.7: PUBACK, PUBREC, PUBREL, PUBCOMP. */
const broker = new Broker();

/** We say that nobody is subscribed; the specification lets a broker keep it to itself. */
const nobodySubscribed = broker.isOurs ? [0x10] : [0x00, 0x10];

async function closesOnPubrelFlags(version: Version): Promise<void> {
  for (const flags of [0, 1, 3, 4, 8, 15]) {
    await using client = await broker.connect(version);
    client.send(packet(0x60 | flags, u16(1)));
    await broker.expectRefused(client, 0x81);
  }
}

/** The QoS 2 exchange as receiver answers whatever packet ids it is asked about. */
async function answersUnknownPacketIds(version: Version): Promise<void> {
  await using client = await broker.connect(version);
  client.send(packets.pubrel(1_234));
  const pubcomp = await client.expect("pubcomp");
  assert.equal(pubcomp.packetId, 1_234);
  if (version === 5 && broker.isOurs) assert.equal(pubcomp.reasonCode, 0x92);
  client.send(packets.pubrec(4_321));
  const pubrel = await client.expect("pubrel");
  assert.equal(pubrel.packetId, 4_321);
  if (version === 5 && broker.isOurs) assert.equal(pubrel.reasonCode, 0x92);
}

describe("MQTT 3.1.1", { concurrency: true }, () => {
  it("[MQTT-3.6.1-1] closes the connection on a PUBREL with wrong flags", () => closesOnPubrelFlags(4));

  it("answers PUBREL and PUBREC with a packet id it does not know", () => answersUnknownPacketIds(4));
});

describe("MQTT 5.0", { concurrency: true }, () => {
  it("[MQTT-3.4.2-1] answers PUBLISH at QoS 1 with 0x00, or with 0x10 when nobody is subscribed", async () => {
    const topic = unique("t");
    await using client = await broker.connect(5);
    assert.ok(nobodySubscribed.includes(await client.publish({ topic, qos: 1 })));
    await client.subscribe(topic);
    assert.equal(await client.publish({ topic, qos: 1 }), 0x00);
  });

  it("[MQTT-3.5.2-1] answers PUBLISH at QoS 2 with 0x00, or with 0x10 when nobody is subscribed", async () => {
    const topic = unique("t");
    await using client = await broker.connect(5);
    assert.ok(nobodySubscribed.includes(await client.publish({ topic, qos: 2 })));
    await client.subscribe(topic);
    assert.equal(await client.publish({ topic, qos: 2 }), 0x00);
  });

  it("[MQTT-3.6.1-1] closes the connection on a PUBREL with wrong flags", () => closesOnPubrelFlags(5));

  it("[MQTT-3.6.2-1] [MQTT-3.7.2-1] answers a packet id it does not know with 0x92", () =>
    answersUnknownPacketIds(5));

  it("[MQTT-3.4.2-2] [MQTT-3.4.2-3] [MQTT-3.5.2-2] [MQTT-3.5.2-3] [MQTT-3.6.2-2] [MQTT-3.6.2-3] [MQTT-3.7.2-2] [MQTT-3.7.2-3] keeps acknowledgements within the client's Maximum Packet Size", async () => {
    const topic = unique("t");
    const maximum = 24;
    await using client = await broker.open(5, "plain", maximum);
    await client.connect({ clientId: unique("c"), properties: [property.maximumPacketSize(maximum)] });
    assert.ok(nobodySubscribed.includes(await client.publish({ topic, qos: 1 })));
    assert.ok(nobodySubscribed.includes(await client.publish({ topic, qos: 2 })));
    client.send(packets.pubrel(100), packets.pubrec(101));
    await client.expect("pubcomp");
    await client.expect("pubrel");
  });

  it("takes acknowledgements with reason code, reason string and user properties", async () => {
    const topic = unique("t");
    await using client = await broker.connect(5);
    await client.subscribe(topic, 2);
    const properties = [property.reasonString("fine"), property.userProperty("a", "b")];
    await client.publish({ topic, qos: 1 });
    client.send(packets.puback((await client.take("publish")).packetId, { reasonCode: 0, properties }));
    client.send(packets.publish(5, { topic, qos: 2, packetId: 9 }));
    await client.take("pubrec");
    client.send(packets.pubrel(9, { reasonCode: 0, properties }));
    await client.take("pubcomp");
    const { packetId } = await client.take("publish");
    client.send(packets.pubrec(packetId, { reasonCode: 0x10, properties }));
    assert.equal((await client.take("pubrel")).packetId, packetId);
    client.send(packets.pubcomp(packetId, { reasonCode: 0, properties }));
    await client.expectNothing();
  });

  it("closes the connection on an acknowledgement with a reason code that is none", async () => {
    const wrong = [
      packets.puback(1, { reasonCode: 0x01 }),
      packets.pubrec(1, { reasonCode: 0x92 }),
      packets.pubrel(1, { reasonCode: 0x10 }),
      packets.pubcomp(1, { reasonCode: 0x80 }),
      packet(0x40, u16(1), raw(0, 5)),
    ];
    for (const bytes of wrong) {
      await using client = await broker.connect(5);
      client.send(bytes);
      await broker.expectRefused(client, 0x81, 0x82);
    }
  });
});
