import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { setTimeout as delay } from "node:timers/promises";

import { concat, field, packet, raw, u16 } from "../support/bytes.ts";
import * as packets from "../support/packets.ts";
import { property, type ConnectOptions, type Version } from "../support/packets.ts";
import type { RawClient } from "../support/raw-client.ts";
import { Broker, unique } from "../support/target.ts";

/** Section 3.1: CONNECT, without wills and keep-alive, which have files of their own. */
const broker = new Broker();

/** Sends something in the place of a good CONNECT, which the broker must not accept. */
async function refuses(version: Version, bytes: Uint8Array, ...reasonCodes: number[]): Promise<void> {
  await using client = await broker.open(version);
  client.send(bytes);
  await broker.expectNotConnected(client, ...reasonCodes);
}

async function refusesFlags(version: Version, flags: number, options: ConnectOptions = {}): Promise<void> {
  await refuses(version, packets.connect(version, { clientId: unique("c"), ...options, flags }), 0x81, 0x82);
}

async function takesNothingBeforeConnect(version: Version): Promise<void> {
  const topic = unique("t");
  const wrong = [
    packets.publish(version, { topic, payload: "early", retain: true }),
    packets.subscribe(version, 1, [[topic, 0]]),
    packets.pingreq,
    packets.disconnect(),
    packets.puback(1),
    raw(0x20, 2, 0, 0),
    raw(0x00, 0),
  ];
  for (const bytes of wrong) {
    await using client = await broker.open(version);
    client.send(bytes, packets.connect(version, { clientId: unique("c") }));
    await client.expectClosed();
  }
  await using subscriber = await broker.connect(version);
  await subscriber.subscribe(topic);
  await subscriber.expectNothing();
}

async function closesOnSecondConnect(version: Version): Promise<void> {
  const clientId = unique("c");
  await using client = await broker.connect(version, { clientId });
  client.send(packets.connect(version, { clientId }));
  await broker.expectRefused(client, 0x82);
}

async function refusesOtherNames(version: Version): Promise<void> {
  for (const protocolName of ["MQTT\0", "mqtt", "MQIsdpX", "HTTP", ""]) {
    const bytes = packets.connect(version, { clientId: unique("c"), protocolName });
    await using client = await broker.open(version);
    client.send(bytes);
    await broker.expectNotConnected(client, 0x81, 0x84);
  }
}

async function resumesSession(version: Version, properties: readonly Uint8Array[] = []): Promise<void> {
  const options = { clientId: unique("c"), clean: false, properties };
  const topic = unique("t");
  await using first = await broker.connect(version, options);
  assert.equal(first.connack.sessionPresent, false);
  await first.subscribe(topic, 1);
  await first.drop();
  await using publisher = await broker.connect(version);
  await publisher.publish({ topic, qos: 1, payload: "while away" });
  await using second = await broker.connect(version, options);
  assert.equal(second.connack.sessionPresent, true);
  assert.equal((await second.receive()).payload, "while away");
  await publisher.publish({ topic, qos: 1, payload: "after" });
  assert.equal((await second.receive()).payload, "after");
}

async function discardsSession(version: Version, properties: readonly Uint8Array[] = []): Promise<void> {
  const clientId = unique("c");
  const topic = unique("t");
  await using first = await broker.connect(version, { clientId, clean: false, properties });
  await first.subscribe(topic, 1);
  await first.drop();
  await using publisher = await broker.connect(version);
  await publisher.publish({ topic, qos: 1, payload: "for the old session" });
  await using clean = await broker.connect(version, { clientId, clean: true });
  assert.equal(clean.connack.sessionPresent, false);
  await publisher.publish({ topic, qos: 1, payload: "for no session" });
  await clean.expectNothing();
  await clean.disconnect();
  await using after = await broker.connect(version, { clientId, clean: false, properties });
  assert.equal(after.connack.sessionPresent, false);
  await after.expectNothing();
}

async function closesOnMissingFields(version: Version, flags: number): Promise<void> {
  const properties = packets.propertiesOf(version);
  const header = concat(field("MQTT"), raw(version, flags), u16(0), properties);
  await refuses(version, packet(0x10, header, field(unique("c"))), 0x81);
}

async function closesOnLeftOverBytes(version: Version, ...fields: Uint8Array[]): Promise<void> {
  const connect = packets.connect(version, { clientId: unique("c") });
  await refuses(version, packet(0x10, connect.subarray(2), ...fields), 0x81);
}

async function readsEveryField(version: Version): Promise<void> {
  const topic = unique("w");
  await using watcher = await broker.connect(version);
  await watcher.subscribe(topic);
  await using client = await broker.connect(version, {
    will: { topic, payload: "the will" },
    username: "a user name",
    password: "a password",
  });
  await client.drop();
  assert.equal((await watcher.receive()).payload, "the will");
}

async function separatesSessions(version: Version, properties: readonly Uint8Array[] = []): Promise<void> {
  const topic = unique("t");
  const ids = [unique("a"), unique("b")] as const;
  for (const clientId of ids) {
    await using client = await broker.connect(version, { clientId, clean: false, properties });
    await client.subscribe(`${topic}/${clientId}`, 1);
    await client.disconnect();
  }
  await using publisher = await broker.connect(version);
  for (const clientId of ids) {
    await publisher.publish({ topic: `${topic}/${clientId}`, qos: 1, payload: clientId });
  }
  for (const clientId of ids) {
    await using client = await broker.connect(version, { clientId, clean: false, properties });
    assert.equal(client.connack.sessionPresent, true);
    assert.equal((await client.receive()).payload, clientId);
    await client.expectNothing();
  }
}

async function takesOrdinaryClientIds(version: Version): Promise<void> {
  for (const clientId of ["abcdefghijklmnopqrstuvw", "xyzABCDEFGHIJKLMNOPQRST", "UVWXYZ0123456789", "7"]) {
    await using client = await broker.connect(version, { clientId });
    await client.ping();
  }
}

async function letsNamelessClientsIn(version: Version): Promise<RawClient[]> {
  const clients = [
    await broker.connect(version, { clientId: "" }),
    await broker.connect(version, { clientId: "" }),
  ];
  for (const client of clients) await client.ping();
  return clients;
}

async function takesOver(version: Version): Promise<RawClient> {
  const clientId = unique("c");
  const first = await broker.connect(version, { clientId });
  await using second = await broker.connect(version, { clientId });
  await second.ping();
  return first;
}

async function processesNothingAfterRefusal(version: Version): Promise<void> {
  const topic = unique("t");
  await using refused = await broker.open(version);
  refused.send(
    packets.connect(version, { clientId: unique("c"), flags: 0x03 }),
    packets.publish(version, { topic, payload: "not let in", retain: true }),
  );
  await broker.expectNotConnected(refused, 0x81);
  await using subscriber = await broker.connect(version);
  await subscriber.subscribe(topic);
  await subscriber.expectNothing();
}

const keepForever = [property.sessionExpiryInterval(0xff_ff_ff_ff)];

describe("MQTT 3.1.1", { concurrency: true }, () => {
  it("[MQTT-3.1.0-1] closes the connection on a first packet that is not CONNECT", () =>
    takesNothingBeforeConnect(4));

  it("[MQTT-3.1.0-2] closes the connection on a second CONNECT", () => closesOnSecondConnect(4));

  it("[MQTT-3.1.2-1] does not go on with another protocol name", () => refusesOtherNames(4));

  it("[MQTT-3.1.2-2] answers an unknown protocol level with return code 1 and closes", async () => {
    for (const protocolLevel of [1, 2, 6, 0x7f]) {
      await using client = await broker.open(4);
      client.send(packets.connect(4, { clientId: unique("c"), protocolLevel }));
      assert.equal((await client.expect("connack")).reasonCode, 1);
      await client.expectClosed();
    }
  });

  it("[MQTT-3.1.2-3] closes the connection on the reserved connect flag", () => refusesFlags(4, 0x03));

  it("[MQTT-3.1.2-4] [MQTT-3.1.2-5] resumes a session and keeps its messages while the client is away", () =>
    resumesSession(4));

  it("[MQTT-3.1.2-6] [MQTT-3.1.4-3] discards the session with Clean Session 1", () => discardsSession(4));

  it("[MQTT-3.1.2-7] keeps retained messages when the session ends", async () => {
    const topic = unique("t");
    await using publisher = await broker.connect(4);
    await publisher.publish({ topic, payload: "kept", retain: true, qos: 1 });
    await publisher.disconnect();
    await using subscriber = await broker.connect(4);
    await subscriber.subscribe(topic);
    assert.equal((await subscriber.receive()).payload, "kept");
    await subscriber.publish({ topic, retain: true });
  });

  it("[MQTT-3.1.2-18] closes the connection on a user name without its flag", () =>
    closesOnLeftOverBytes(4, field("user")));

  it("[MQTT-3.1.2-19] closes the connection on a user name flag without user name", () =>
    closesOnMissingFields(4, 0x82));

  it("[MQTT-3.1.2-20] closes the connection on a password without its flag", () =>
    refusesFlags(4, 0x82, { username: "user", password: "password" }));

  it("[MQTT-3.1.2-21] closes the connection on a password flag without password", () =>
    refusesFlags(4, 0xc2, { username: "user" }));

  it("[MQTT-3.1.2-22] closes the connection on a password without user name", () =>
    refusesFlags(4, 0x42, { password: "password" }));

  it("[MQTT-3.1.3-1] reads the fields of the payload in their order", () => readsEveryField(4));

  it("[MQTT-3.1.3-2] tells sessions apart by the client id", () => separatesSessions(4));

  it("[MQTT-3.1.3-3] closes the connection on a missing client id", () =>
    refuses(4, packet(0x10, field("MQTT"), raw(4, 2), u16(0))));

  it("[MQTT-3.1.3-4] closes the connection on a client id that is not UTF-8", () =>
    refuses(4, packets.connect(4, { clientId: raw(0x61, 0xff) })));

  it("[MQTT-3.1.3-5] takes client ids of 1 to 23 letters and digits", () => takesOrdinaryClientIds(4));

  it("[MQTT-3.1.3-6] gives clients without client id one of their own", async () => {
    for (const client of await letsNamelessClientsIn(4)) await client.drop();
  });

  it("[MQTT-3.1.3-8] answers Clean Session 0 without client id with return code 2 and closes", async () => {
    await using client = await broker.open(4);
    client.send(packets.connect(4, { clientId: "", clean: false }));
    assert.equal((await client.expect("connack")).reasonCode, 2);
    await client.expectClosed();
  });

  it(
    "[MQTT-3.1.3-9] answers a client id it does not take with return code 2 and closes",
    { skip: broker.unlessOurs("the broker under test may take every client id") },
    async () => {
      await using client = await broker.open(4);
      client.send(packets.connect(4, { clientId: "x".repeat(600) }));
      assert.equal((await client.expect("connack")).reasonCode, 2);
      await client.expectClosed();
    },
  );

  it("[MQTT-3.1.3-11] closes the connection on a user name that is not UTF-8", () =>
    refuses(4, packets.connect(4, { clientId: unique("c"), username: raw(0xff) })));

  it("[MQTT-3.1.4-1] closes the connection on a malformed CONNECT without CONNACK", async () => {
    const good = packets.connect(4, { clientId: unique("c") });
    await refuses(4, packet(0x10, good.subarray(2, -1)));
    await refuses(4, packet(0x10, field("MQTT")));
    await refuses(4, packet(0x10));
  });

  it("[MQTT-3.1.4-2] closes the older connection of a client id", async () => {
    await using first = await takesOver(4);
    await first.expectClosed();
  });

  it("[MQTT-3.1.4-4] accepts a good CONNECT with return code 0", async () => {
    await using client = await broker.connect(4);
    assert.equal(client.connack.reasonCode, 0);
  });

  it("[MQTT-3.1.4-5] takes nothing of a client it refused", () => processesNothingAfterRefusal(4));
});

describe("MQTT 5.0", { concurrency: true }, () => {
  it("[MQTT-3.1.0-1] closes the connection on a first packet that is not CONNECT", () =>
    takesNothingBeforeConnect(5));

  it("[MQTT-3.1.0-2] closes the connection on a second CONNECT", () => closesOnSecondConnect(5));

  it("[MQTT-3.1.2-1] does not go on with another protocol name", () => refusesOtherNames(5));

  it("[MQTT-3.1.2-2] closes the connection on an unknown protocol version", async () => {
    for (const protocolLevel of [6, 0x7f, 0xff]) {
      await using client = await broker.open(4);
      client.send(packets.connect(5, { clientId: unique("c"), protocolLevel }));
      if ((await client.closesOrSends()) === "connack") {
        assert.equal((await client.expect("connack")).reasonCode, 1);
      }
      await client.expectClosed();
    }
  });

  it("[MQTT-3.1.2-3] closes the connection on the reserved connect flag", () => refusesFlags(5, 0x03));

  it("[MQTT-3.1.2-4] [MQTT-3.1.4-4] discards the session with Clean Start 1", () =>
    discardsSession(5, keepForever));

  it("[MQTT-3.1.2-5] [MQTT-3.1.2-23] resumes a session and keeps its messages while the client is away", () =>
    resumesSession(5, keepForever));

  it("[MQTT-3.1.2-6] starts a session with Clean Start 0 where there is none", async () => {
    const topic = unique("t");
    await using client = await broker.connect(5, { clean: false, properties: keepForever });
    assert.equal(client.connack.sessionPresent, false);
    await client.subscribe(topic);
    await client.publish({ topic, payload: "mine" });
    assert.equal((await client.receive()).payload, "mine");
  });

  it("[MQTT-3.1.2-16] closes the connection on a user name without its flag", () =>
    closesOnLeftOverBytes(5, field("user")));

  it("[MQTT-3.1.2-17] closes the connection on a user name flag without user name", () =>
    closesOnMissingFields(5, 0x82));

  it("[MQTT-3.1.2-18] closes the connection on a password without its flag", () =>
    refusesFlags(5, 0x82, { username: "user", password: "password" }));

  it("[MQTT-3.1.2-19] closes the connection on a password flag without password", () =>
    refusesFlags(5, 0xc2, { username: "user" }));

  it("[MQTT-3.1.2-19] takes a password without user name", async () => {
    await using client = await broker.connect(5, { password: "password" });
    await client.ping();
  });

  it("[MQTT-3.1.2-23] keeps the session for as long as DISCONNECT says", async () => {
    const options = { clientId: unique("c"), clean: false, properties: [property.sessionExpiryInterval(60)] };
    await using first = await broker.connect(5, options);
    await first.disconnect({ reasonCode: 0, properties: [property.sessionExpiryInterval(0)] });
    await using second = await broker.connect(5, options);
    assert.equal(second.connack.sessionPresent, false);
    await second.disconnect({ reasonCode: 0, properties: [property.sessionExpiryInterval(30)] });
    await using third = await broker.connect(5, options);
    assert.equal(third.connack.sessionPresent, true);
  });

  it("[MQTT-3.1.2-28] returns no Response Information that was not asked for", async () => {
    for (const properties of [[], [property.requestResponseInformation(0)]]) {
      await using client = await broker.connect(5, { properties });
      assert.equal(client.connack.properties.responseInformation, undefined);
    }
  });

  it("[MQTT-3.1.2-29] gives no reasons to a client that asked for none", async () => {
    const topic = unique("t");
    await using client = await broker.connect(5, { properties: [property.requestProblemInformation(0)] });
    client.send(packets.publish(5, { topic, qos: 1, packetId: 1 }));
    assert.deepEqual((await client.expect("puback")).properties, {});
    client.send(packets.publish(5, { topic, qos: 2, packetId: 2 }));
    assert.deepEqual((await client.expect("pubrec")).properties, {});
    client.send(packets.pubrel(2), packets.pubrel(3));
    assert.deepEqual((await client.expect("pubcomp")).properties, {});
    assert.deepEqual((await client.expect("pubcomp")).properties, {});
    client.send(packets.pubrec(4));
    assert.deepEqual((await client.expect("pubrel")).properties, {});
    assert.deepEqual((await client.unsubscribe(topic)).properties, {});
    assert.deepEqual((await client.subscribe(topic)).properties, {});
  });

  it("[MQTT-3.1.3-1] reads the fields of the payload in their order", () => readsEveryField(5));

  it("[MQTT-3.1.3-2] tells sessions apart by the client id", () => separatesSessions(5, keepForever));

  it("[MQTT-3.1.3-3] closes the connection on a missing client id", () =>
    refuses(5, packet(0x10, field("MQTT"), raw(5, 2), u16(0), raw(0)), 0x81, 0x85));

  it("[MQTT-3.1.3-4] closes the connection on a client id that is not UTF-8", () =>
    refuses(5, packets.connect(5, { clientId: raw(0x61, 0xff) }), 0x81, 0x85));

  it("[MQTT-3.1.3-5] takes client ids of 1 to 23 letters and digits", () => takesOrdinaryClientIds(5));

  it("[MQTT-3.1.3-6] [MQTT-3.1.3-7] [MQTT-3.2.2-16] assigns a new client id, under which the session is found", async () => {
    const assigned = new Set<string>();
    for (const client of await letsNamelessClientsIn(5)) {
      const clientId = client.connack.properties.assignedClientIdentifier;
      assert.ok(clientId !== undefined && clientId.length > 0);
      assigned.add(clientId);
      await client.drop();
    }
    assert.equal(assigned.size, 2);
    await using first = await broker.connect(5, { clientId: "", clean: true, properties: keepForever });
    const clientId = first.connack.properties.assignedClientIdentifier;
    assert.ok(clientId !== undefined && !assigned.has(clientId));
    await first.drop();
    await using second = await broker.connect(5, { clientId, clean: false });
    assert.equal(second.connack.sessionPresent, true);
    assert.equal(second.connack.properties.assignedClientIdentifier, undefined);
  });

  it(
    "[MQTT-3.1.3-8] refuses a client id it does not take with 0x85 and closes",
    { skip: broker.unlessOurs("the broker under test may take every client id") },
    async () => {
      await using client = await broker.open(5);
      client.send(packets.connect(5, { clientId: "x".repeat(600) }));
      assert.equal((await client.expect("connack")).reasonCode, 0x85);
      await client.expectClosed();
    },
  );

  it("[MQTT-3.1.3-12] closes the connection on a user name that is not UTF-8", () =>
    refuses(5, packets.connect(5, { clientId: unique("c"), username: raw(0xff) }), 0x81));

  it("[MQTT-3.1.4-1] closes the connection on a malformed CONNECT", async () => {
    const good = packets.connect(5, { clientId: unique("c") });
    await refuses(5, packet(0x10, good.subarray(2, -1)), 0x81);
    await refuses(5, packet(0x10, field("MQTT")), 0x81);
    await refuses(5, packet(0x10), 0x81);
  });

  it(
    "[MQTT-3.1.4-2] refuses a client that cannot prove who it is, and closes",
    { skip: broker.lacks("guarded") },
    async () => {
      await using client = await broker.open(5, "guarded");
      client.send(packets.connect(5, { clientId: unique("c"), username: "nobody", password: "wrong" }));
      await broker.expectNotConnected(client, 0x86, 0x87);
    },
  );

  it("[MQTT-3.1.4-3] tells the older connection of a client id that it was taken over, and closes it", async () => {
    await using first = await takesOver(5);
    await broker.expectRefused(first, 0x8e);
  });

  it("[MQTT-3.1.4-5] accepts a good CONNECT with reason code 0", async () => {
    await using client = await broker.connect(5);
    assert.equal(client.connack.reasonCode, 0);
  });

  it("[MQTT-3.1.4-6] takes nothing of a client it refused", () => processesNothingAfterRefusal(5));
});

describe("CONNECT in time", { concurrency: true }, () => {
  it(
    "closes a connection on which no whole CONNECT arrives within 5 s",
    { skip: broker.unlessOurs("a limit of ours") },
    async () => {
      const connect = packets.connect(5, { clientId: unique("c") });
      await using silent = await broker.open(5);
      await using halfway = await broker.open(5);
      halfway.send(connect.subarray(0, -1));
      await delay(4_000);
      assert.equal(silent.isClosed, false);
      assert.equal(halfway.isClosed, false);
      await Promise.all([silent.expectClosed(), halfway.expectClosed()]);
    },
  );

  it(
    "closes a connection that sends more than 4 KB before it is accepted",
    { skip: broker.unlessOurs("a limit of ours") },
    async () => {
      const username = "x".repeat(5_000);
      await refuses(5, packets.connect(5, { clientId: unique("c"), username }), 0x95);
      await refuses(4, packets.connect(4, { clientId: unique("c"), username }));
    },
  );
});
