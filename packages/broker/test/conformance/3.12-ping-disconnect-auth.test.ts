import assert from "node:assert/strict";
import { describe, it } from "node:test";

import { concat, packet, raw } from "../support/bytes.ts";
import * as packets from "../support/packets.ts";
import { property, type Version } from "../support/packets.ts";
import { Broker, unique } from "../support/target.ts";

/** Sections 3.12 to 3.15: PINGREQ, PINGRESP, DISCONNECT, AUTH. Authentication itself is section 4.12. */
const broker = new Broker();

async function answersPings(version: Version): Promise<void> {
  await using client = await broker.connect(version);
  client.send(packets.pingreq, packets.pingreq, packets.pingreq);
  for (let count = 0; count < 3; count += 1) await client.expect("pingresp");
  await client.expectNothing();
}

async function refuses(version: Version, bytes: Uint8Array, ...reasonCodes: number[]): Promise<void> {
  await using client = await broker.connect(version);
  client.send(bytes);
  await broker.expectRefused(client, ...reasonCodes);
}

async function closesOnDisconnectFlags(version: Version): Promise<void> {
  for (const flags of [1, 2, 4, 8, 15]) await refuses(version, packet(0xe0 | flags), 0x81);
}

/** Nothing that follows DISCONNECT in the same bytes is taken. */
async function takesNothingAfterDisconnect(version: Version): Promise<void> {
  const topic = unique("t");
  await using watcher = await broker.connect(version);
  await watcher.subscribe(topic);
  await using client = await broker.connect(version);
  client.send(
    packets.publish(version, { topic, payload: "before" }),
    packets.disconnect(),
    packets.publish(version, { topic, payload: "after" }),
    packets.pingreq,
  );
  await client.expectClosed();
  assert.equal((await watcher.receive()).payload, "before");
  await watcher.expectNothing();
}

describe("MQTT 3.1.1", { concurrency: true }, () => {
  it("[MQTT-3.12.4-1] answers each PINGREQ with PINGRESP", () => answersPings(4));

  it("[MQTT-3.14.1-1] closes the connection on a DISCONNECT with flags", () => closesOnDisconnectFlags(4));

  it("[MQTT-3.14.4-1] [MQTT-3.14.4-2] closes the connection on DISCONNECT and takes nothing after it", () =>
    takesNothingAfterDisconnect(4));

  it("closes the connection on packets with bytes too many", async () => {
    await refuses(4, packet(0xc0, raw(0)));
    await refuses(4, packet(0xe0, raw(0)));
    await refuses(4, packet(0x40, raw(0, 1, 0)));
  });

  it("closes the connection on AUTH, which MQTT 3.1.1 does not have", () => refuses(4, raw(0xf0, 0)));
});

describe("MQTT 5.0", { concurrency: true }, () => {
  it("[MQTT-3.12.4-1] answers each PINGREQ with PINGRESP", () => answersPings(5));

  it("[MQTT-3.14.0-1] sends no DISCONNECT before CONNACK", async () => {
    const good = packets.connect(5, { clientId: unique("c") });
    const wrong = [
      packets.pingreq,
      raw(0xf0, 0),
      concat(raw(0x11), good.subarray(1)),
      packet(0x10, raw(0, 4)),
    ];
    for (const bytes of wrong) {
      await using client = await broker.open(5);
      client.send(bytes);
      await broker.expectNotConnected(client, 0x81, 0x82);
    }
  });

  it("[MQTT-3.14.1-1] closes the connection on a DISCONNECT with flags with 0x81", () =>
    closesOnDisconnectFlags(5));

  it("[MQTT-3.14.2-1] closes the connection on a DISCONNECT with a reason code that is none", async () => {
    for (const reasonCode of [0x01, 0x18, 0x84, 0xff]) {
      await refuses(5, packets.disconnect({ reasonCode }), 0x81, 0x82);
    }
  });

  it("[MQTT-3.14.2-1] [MQTT-3.14.2-2] [MQTT-3.14.4-1] [MQTT-3.14.4-2] says why it disconnects, then sends nothing more and closes", async () => {
    const clientId = unique("c");
    const topic = unique("t");
    await using first = await broker.connect(5, { clientId });
    await first.subscribe(topic);
    await using second = await broker.connect(5, { clientId });
    await second.publish({ topic });
    await broker.expectRefused(first, 0x8e);
  });

  it("[MQTT-3.14.2-3] [MQTT-3.14.2-4] leaves the reason string out of a DISCONNECT that would exceed the client's Maximum Packet Size", async () => {
    const maximum = 30;
    const clientId = unique("c");
    await using first = await broker.open(5, "plain", maximum);
    await first.connect({ clientId, properties: [property.maximumPacketSize(maximum)] });
    await using second = await broker.connect(5, { clientId });
    await broker.expectRefused(first, 0x8e);
    await second.ping();
  });

  it("[MQTT-3.14.4-1] [MQTT-3.14.4-2] closes the connection on DISCONNECT and takes nothing after it", () =>
    takesNothingAfterDisconnect(5));

  it("closes the connection on a session expiry in DISCONNECT after none in CONNECT", async () => {
    const properties = [property.sessionExpiryInterval(10)];
    await refuses(5, packets.disconnect({ reasonCode: 0, properties }), 0x82);
  });

  it("[MQTT-3.15.1-1] closes the connection on an AUTH with flags", async () => {
    for (const flags of [1, 2, 4, 8]) await refuses(5, packet(0xf0 | flags), 0x81);
  });

  it("[MQTT-3.15.2-1] closes the connection on an AUTH with a reason code that is none", () =>
    refuses(5, packets.auth(0x17, [property.authenticationMethod("m")]), 0x81, 0x82));
});
