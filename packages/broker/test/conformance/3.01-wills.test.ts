import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { setTimeout as delay } from "node:timers/promises";

import { concat, field, packet, raw, u16 } from "../support/bytes.ts";
import * as packets from "../support/packets.ts";
import { property, type ConnectOptions, type Version, type WillOptions } from "../support/packets.ts";
import type { RawClient } from "../support/raw-client.ts";
import type { Publish } from "../support/received.ts";
import { Broker, unique } from "../support/target.ts";

/** Sections 3.1.2.5 to 3.1.2.7, 3.1.3.2 to 3.1.3.4, 3.14.4: the will. */
const broker = new Broker();

/** Someone who sees every will published under `topic`, at any QoS. */
async function watch(version: Version, topic: string): Promise<RawClient> {
  const watcher = await broker.connect(version);
  await watcher.subscribe(topic, 2);
  return watcher;
}

/** Waits until the broker knows that the client is gone: a connection of the same name has come and gone. */
async function noticeEnd(version: Version, options: ConnectOptions): Promise<void> {
  await using next = await broker.connect(version, { ...options, clean: false });
  await next.disconnect();
}

/** How the will arrives after the network failed. */
async function willAfterDrop(version: Version, will: Omit<WillOptions, "topic">): Promise<Publish> {
  const topic = unique("w");
  await using watcher = await watch(version, topic);
  await using client = await broker.connect(version, { will: { topic, ...will } });
  await client.drop();
  const publish = await watcher.receive();
  assert.equal(publish.topic, topic);
  await watcher.expectNothing();
  return publish;
}

async function publishesWillAfterViolation(version: Version): Promise<void> {
  const topic = unique("w");
  await using watcher = await watch(version, topic);
  await using client = await broker.connect(version, { will: { topic, payload: "expelled" } });
  client.send(raw(0x00, 0));
  assert.equal((await watcher.receive()).payload, "expelled");
}

async function publishesWillAfterTakeover(version: Version): Promise<void> {
  const topic = unique("w");
  const clientId = unique("c");
  await using watcher = await watch(version, topic);
  await using first = await broker.connect(version, { clientId, will: { topic, payload: "taken over" } });
  await using second = await broker.connect(version, { clientId });
  assert.equal((await watcher.receive()).payload, "taken over");
  await Promise.all([second.ping(), first.closesOrSends()]);
}

async function forgetsWillOnDisconnect(version: Version, disconnect: Uint8Array): Promise<void> {
  const topic = unique("w");
  const clientId = unique("c");
  await using watcher = await watch(version, topic);
  await using client = await broker.connect(version, { clientId, will: { topic } });
  client.send(disconnect);
  await client.expectClosed();
  await noticeEnd(version, { clientId });
  await watcher.expectNothing();
}

async function forgetsPublishedWill(version: Version, properties: readonly Uint8Array[] = []): Promise<void> {
  const topic = unique("w");
  const options = { clientId: unique("c"), clean: false, properties };
  await using watcher = await watch(version, topic);
  await using client = await broker.connect(version, { ...options, will: { topic, payload: "once" } });
  await client.drop();
  assert.equal((await watcher.receive()).payload, "once");
  await using again = await broker.connect(version, options);
  await again.drop();
  await noticeEnd(version, options);
  await watcher.expectNothing();
}

async function closesOnWillFlags(version: Version, ...flags: number[]): Promise<void> {
  for (const value of flags) {
    await using client = await broker.open(version);
    client.send(packets.connect(version, { clientId: unique("c"), flags: 0x02 | value }));
    await broker.expectNotConnected(client, 0x81, 0x82);
  }
}

/** Will flag, but the payload ends after the client id or after the topic. */
async function closesOnMissingWill(version: Version): Promise<void> {
  const properties = packets.propertiesOf(version);
  const header = concat(field("MQTT"), raw(version, 0x06), u16(0), properties, field(unique("c")));
  const endings = [raw(), properties, concat(properties, field("topic"))];
  for (const ending of endings) {
    await using client = await broker.open(version);
    client.send(packet(0x10, header, ending));
    await broker.expectNotConnected(client, 0x81);
  }
}

async function closesOnWillWithoutFlag(version: Version): Promise<void> {
  await using client = await broker.open(version);
  const options = { clientId: unique("c"), will: { topic: unique("w"), payload: "p" } };
  client.send(packets.connect(version, { ...options, flags: 0x02 }));
  await broker.expectNotConnected(client, 0x81);
}

async function closesOnWillTopic(version: Version, ...reasonCodes: number[]): Promise<void> {
  await using client = await broker.open(version);
  client.send(packets.connect(version, { clientId: unique("c"), will: { topic: raw(0x77, 0xff) } }));
  await broker.expectNotConnected(client, ...reasonCodes);
}

async function usesWillQoS(version: Version): Promise<void> {
  for (const qos of [0, 1, 2] as const) {
    assert.equal((await willAfterDrop(version, { qos, payload: "p" })).qos, qos);
  }
}

async function retainsWill(version: Version, retain: boolean): Promise<void> {
  const topic = unique("w");
  await using watcher = await watch(version, topic);
  await using client = await broker.connect(version, { will: { topic, payload: "p", retain } });
  await client.drop();
  assert.equal((await watcher.receive()).retain, false);
  await using later = await broker.connect(version);
  await later.subscribe(topic);
  if (retain) assert.equal((await later.receive()).retain, true);
  await later.expectNothing();
  await later.publish({ topic, retain: true });
}

/** A client that drops with this will delay and session expiry, and when its will arrives, in ms; `null`: not yet. */
async function msUntilWill(
  seconds: { readonly delay: number; readonly expiry: number },
  meanwhile: (options: ConnectOptions) => Promise<RawClient | undefined>,
): Promise<number> {
  const topic = unique("w");
  const options = {
    clientId: unique("c"),
    properties: [property.sessionExpiryInterval(seconds.expiry)],
  };
  await using watcher = await watch(5, topic);
  const will = { topic, payload: "late", properties: [property.willDelayInterval(seconds.delay)] };
  await using client = await broker.connect(5, { ...options, will });
  const startedMs = performance.now();
  await client.drop();
  await using next = await meanwhile(options);
  assert.equal((await watcher.receive()).payload, "late");
  const elapsedMs = performance.now() - startedMs;
  await next?.ping();
  return elapsedMs;
}

const nothingMeanwhile = async () => undefined;

describe("MQTT 3.1.1", { concurrency: true }, () => {
  it("[MQTT-3.1.2-8] publishes the will when the network fails", async () => {
    assert.equal((await willAfterDrop(4, { payload: "gone" })).payload, "gone");
  });

  it("[MQTT-3.1.2-8] publishes the will of a client that broke the protocol", () =>
    publishesWillAfterViolation(4));

  it("[MQTT-3.1.2-8] publishes the will of a connection that was taken over", () =>
    publishesWillAfterTakeover(4));

  it("[MQTT-3.1.2-8] publishes a will without payload", async () => {
    assert.equal((await willAfterDrop(4, {})).payload, "");
  });

  it("[MQTT-3.1.2-9] [MQTT-3.1.2-14] publishes the will at its QoS", () => usesWillQoS(4));

  it("[MQTT-3.1.2-9] closes the connection on a will flag without will", () => closesOnMissingWill(4));

  it("[MQTT-3.1.2-10] [MQTT-3.14.4-3] forgets the will on DISCONNECT", () =>
    forgetsWillOnDisconnect(4, packets.disconnect()));

  it("[MQTT-3.1.2-10] [MQTT-3.1.2-12] forgets a will that was published", () => forgetsPublishedWill(4));

  it("[MQTT-3.1.2-11] closes the connection on a will without its flag", () => closesOnWillWithoutFlag(4));

  it("[MQTT-3.1.2-13] closes the connection on a will QoS without will", () =>
    closesOnWillFlags(4, 0x08, 0x10));

  it("[MQTT-3.1.2-14] closes the connection on the will QoS 3", async () => {
    await using client = await broker.open(4);
    client.send(packets.connect(4, { clientId: unique("c"), will: { topic: unique("w"), qos: 3 } }));
    await client.expectClosed();
  });

  it("[MQTT-3.1.2-15] closes the connection on a will retain flag without will", () =>
    closesOnWillFlags(4, 0x20));

  it("[MQTT-3.1.2-16] does not retain a will without will retain", () => retainsWill(4, false));

  it("[MQTT-3.1.2-17] retains a will with will retain", () => retainsWill(4, true));

  it("[MQTT-3.1.3-10] closes the connection on a will topic that is not UTF-8", () => closesOnWillTopic(4));
});

describe("MQTT 5.0", { concurrency: true }, () => {
  it("[MQTT-3.1.2-7] [MQTT-3.1.2-8] publishes the will when the network fails", async () => {
    assert.equal((await willAfterDrop(5, { payload: "gone" })).payload, "gone");
  });

  it("[MQTT-3.1.2-8] publishes the will of a client that broke the protocol", () =>
    publishesWillAfterViolation(5));

  it("[MQTT-3.1.2-8] publishes the will of a connection that was taken over", () =>
    publishesWillAfterTakeover(5));

  it("[MQTT-3.1.2-8] publishes a will without payload", async () => {
    assert.equal((await willAfterDrop(5, {})).payload, "");
  });

  it("[MQTT-3.1.2-8] publishes the will after DISCONNECT with 0x04 and with an error", async () => {
    for (const reasonCode of [0x04, 0x80, 0x82]) {
      const topic = unique("w");
      await using watcher = await watch(5, topic);
      await using client = await broker.connect(5, { will: { topic, payload: "on purpose" } });
      client.send(packets.disconnect({ reasonCode }));
      assert.equal((await watcher.receive()).payload, "on purpose");
    }
  });

  it("[MQTT-3.1.2-8] publishes the will when the will delay has passed", async () => {
    const elapsedMs = await msUntilWill({ delay: 1, expiry: 60 }, nothingMeanwhile);
    assert.ok(elapsedMs >= 950 && elapsedMs < 3_000, `${elapsedMs} ms`);
  });

  it("[MQTT-3.1.2-8] publishes the will when the session ends before the will delay has passed", async () => {
    const elapsedMs = await msUntilWill({ delay: 60, expiry: 1 }, nothingMeanwhile);
    assert.ok(elapsedMs >= 950 && elapsedMs < 3_000, `${elapsedMs} ms`);
  });

  it("[MQTT-3.1.2-8] publishes the will at once when the session ends with the connection", async () => {
    const elapsedMs = await msUntilWill({ delay: 60, expiry: 0 }, nothingMeanwhile);
    assert.ok(elapsedMs < 950, `${elapsedMs} ms`);
  });

  it("[MQTT-3.1.2-8] publishes the will at once when the session is replaced before the will delay has passed", async () => {
    const elapsedMs = await msUntilWill({ delay: 60, expiry: 60 }, (options) =>
      broker.connect(5, { ...options, clean: true }),
    );
    assert.ok(elapsedMs < 2_000, `${elapsedMs} ms`);
  });

  it("[MQTT-3.1.3-9] does not publish the will when the client is back before the will delay has passed", async () => {
    const topic = unique("w");
    const options = { clientId: unique("c"), properties: [property.sessionExpiryInterval(60)] };
    await using watcher = await watch(5, topic);
    const will = { topic, properties: [property.willDelayInterval(1)] };
    await using client = await broker.connect(5, { ...options, will });
    await client.drop();
    await delay(200);
    await using again = await broker.connect(5, { ...options, clean: false });
    assert.equal(again.connack.sessionPresent, true);
    await delay(2_000);
    await watcher.expectNothing();
    await again.ping();
  });

  it("[MQTT-3.1.2-9] [MQTT-3.1.2-12] publishes the will at its QoS", () => usesWillQoS(5));

  it("[MQTT-3.1.2-9] closes the connection on a will flag without will", () => closesOnMissingWill(5));

  it("[MQTT-3.1.2-9] closes the connection on a will without its flag", () => closesOnWillWithoutFlag(5));

  it("[MQTT-3.1.2-10] [MQTT-3.14.4-3] forgets the will on DISCONNECT with 0x00", async () => {
    await forgetsWillOnDisconnect(5, packets.disconnect());
    await forgetsWillOnDisconnect(5, packets.disconnect({ reasonCode: 0 }));
  });

  it("[MQTT-3.1.2-10] forgets a will that was published", () =>
    forgetsPublishedWill(5, [property.sessionExpiryInterval(60)]));

  it("[MQTT-3.1.2-11] closes the connection on a will QoS without will", () =>
    closesOnWillFlags(5, 0x08, 0x10));

  it("[MQTT-3.1.2-12] closes the connection on the will QoS 3", async () => {
    await using client = await broker.open(5);
    client.send(packets.connect(5, { clientId: unique("c"), will: { topic: unique("w"), qos: 3 } }));
    await broker.expectNotConnected(client, 0x81);
  });

  it("[MQTT-3.1.2-13] closes the connection on a will retain flag without will", () =>
    closesOnWillFlags(5, 0x20));

  it("[MQTT-3.1.2-14] does not retain a will without will retain", () => retainsWill(5, false));

  it("[MQTT-3.1.2-15] retains a will with will retain", () => retainsWill(5, true));

  it("[MQTT-3.1.2-15] clears the topic by a retained will without payload", async () => {
    const topic = unique("w");
    await using watcher = await watch(5, topic);
    await watcher.publish({ topic, payload: "old", qos: 1, retain: true });
    assert.equal((await watcher.receive()).payload, "old");
    await using client = await broker.connect(5, { will: { topic, retain: true } });
    await client.drop();
    assert.equal((await watcher.receive()).payload, "");
    await using later = await broker.connect(5);
    await later.subscribe(topic);
    await later.expectNothing();
  });

  it("[MQTT-3.1.3-10] publishes the will with its properties, user properties in their order", async () => {
    const { properties } = await willAfterDrop(5, {
      payload: "p",
      properties: [
        property.userProperty("b", "1"),
        property.contentType("text/plain"),
        property.userProperty("a", "2"),
        property.payloadFormatIndicator(1),
        property.userProperty("b", "1"),
        property.responseTopic("r"),
        property.correlationData("c"),
        property.messageExpiryInterval(60),
      ],
    });
    const { correlationData, messageExpiryInterval = 0, ...others } = properties;
    assert.deepEqual(others, {
      userProperties: [
        ["b", "1"],
        ["a", "2"],
        ["b", "1"],
      ],
      contentType: "text/plain",
      payloadFormatIndicator: 1,
      responseTopic: "r",
    });
    assert.deepEqual([...(correlationData ?? [])], [0x63]);
    assert.ok(messageExpiryInterval >= 57 && messageExpiryInterval <= 60);
  });

  it("[MQTT-3.1.3-11] closes the connection on a will topic that is not UTF-8", () =>
    closesOnWillTopic(5, 0x81, 0x90));

  it("[MQTT-3.1.3-10] counts the expiry interval of a will from its publication", async () => {
    const topic = unique("w");
    await using watcher = await watch(5, topic);
    const will = { topic, payload: "p", properties: [property.messageExpiryInterval(1)] };
    await using client = await broker.connect(5, { will });
    await delay(1_500);
    await client.drop();
    assert.equal((await watcher.receive()).properties.messageExpiryInterval, 1);
  });
});
