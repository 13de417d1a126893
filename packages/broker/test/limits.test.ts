import assert from "node:assert/strict";
import { after, describe, it } from "node:test";

import { MemorySessionStore } from "@postern/store/memory-session-store";

import type { Limits, ListenerLimits } from "../src/limits.ts";
import { openBroker, type OpenBroker } from "../src/testing/open-broker.ts";
import { nextTurn } from "./harness/stage.ts";
import { property } from "./support/packets.ts";
import * as packets from "./support/packets.ts";
import { RawClient, type Address } from "./support/raw-client.ts";

const brokers: OpenBroker[] = [];
after(() => Promise.all(brokers.map(({ broker }) => broker.close())));

async function start(
  limits: Partial<Limits>,
  own: ListenerLimits = {},
): Promise<OpenBroker & { address: Address }> {
  const opened = openBroker({ store: new MemorySessionStore(), limits });
  brokers.push(opened);
  const { port } = await opened.listen("mqtt", own);
  return { ...opened, address: { host: "127.0.0.1", port } };
}

async function client(address: Address, options: packets.ConnectOptions = {}, version: packets.Version = 5) {
  const raw = await RawClient.open(address, version);
  await raw.connect({ clientId: `c${Math.random()}`, ...options });
  return raw;
}

const expiry = (seconds: number) => ({ clean: false, properties: [property.sessionExpiryInterval(seconds)] });

describe("limits", () => {
  it("connectBytesMax: closes a connection that sends more before CONNECT is complete", async () => {
    const { address } = await start({ connectBytesMax: 64 });
    await using raw = await RawClient.open(address, 5);
    raw.send(packets.connect(5, { clientId: "x".repeat(60) }));
    await raw.expectClosed();
    await using honest = await client(address);
    await honest.ping();
  });

  it("connectTimeoutSeconds: closes a connection without a CONNECT, also one that trickles in", async () => {
    const { address } = await start({ connectTimeoutSeconds: 1 });
    await using silent = await RawClient.open(address, 5);
    await using slow = await RawClient.open(address, 5);
    const bytes = packets.connect(5, { clientId: "slow" });
    const timer = setInterval(() => slow.send(bytes.subarray(0, 1)), 300);
    await silent.expectClosed(3_000);
    clearInterval(timer);
    await slow.expectClosed(3_000);
  });

  it("connectionsMax: cuts the connection that is one too many, and takes the next when one has gone", async () => {
    const { address, broker } = await start({ connectionsMax: 2 });
    const first = await client(address);
    await using second = await client(address);
    await using third = await RawClient.open(address, 5);
    await third.expectClosed();
    await second.ping();
    await first.disconnect();
    while (broker.snapshot().connections > 1) await nextTurn();
    await using fourth = await client(address);
    await fourth.ping();
  });

  it("connectionsPerAddressMax: holds on loopback only where the listener itself sets it", async () => {
    const { address } = await start({}, { connectionsPerAddressMax: 1 });
    await using first = await client(address);
    await using second = await RawClient.open(address, 5);
    await second.expectClosed();
    await first.ping();
    const open = await start({ connectionsPerAddressMax: 1 });
    await using one = await client(open.address);
    await using two = await client(open.address);
    await one.ping();
    await two.ping();
  });

  it("clientIdBytesMax, userPropertiesMax: refuse CONNECT with 0x85 and 0x97", async () => {
    const { address } = await start({ clientIdBytesMax: 8, userPropertiesMax: 2 });
    await using long = await RawClient.open(address, 5);
    long.send(packets.connect(5, { clientId: "123456789" }));
    assert.equal((await long.expect("connack")).reasonCode, 0x85);
    const three = [1, 2, 3].map(() => property.userProperty("a", "b"));
    await using many = await RawClient.open(address, 5);
    many.send(packets.connect(5, { clientId: "a", properties: three }));
    assert.equal((await many.expect("connack")).reasonCode, 0x97);
    await using later = await client(address, { clientId: "b" });
    later.send(packets.publish(5, { topic: "t", properties: three }));
    await later.expectDisconnect(0x97);
  });

  it("topicBytesMax, topicLevelsMax: end the connection with 0x90; a filter is refused alone", async () => {
    const { address } = await start({ topicBytesMax: 20, topicLevelsMax: 3 });
    for (const topic of ["x".repeat(21), "a/b/c/d"]) {
      await using publisher = await client(address);
      publisher.send(packets.publish(5, { topic }));
      await publisher.expectDisconnect(0x90);
      await using subscriber = await client(address);
      assert.deepEqual((await subscriber.subscribe([topic, "a/b/c"])).reasonCodes, [0x83, 0]);
    }
  });

  it("inboundBytesTotalMax: disconnects with 0x89 whose unfinished packet is too much, and counts it out again", async () => {
    const { address, broker } = await start({ inboundBytesTotalMax: 200_000 });
    const bytes = packets.publish(5, { topic: "big", payload: "x".repeat(100_000) });
    // Between connections there is no order but that in which the server has seen what they sent.
    const send = async (raw: RawClient, count: number): Promise<void> => {
      const { bytesReceived } = broker.counters();
      raw.send(bytes.subarray(0, count));
      while (broker.counters().bytesReceived < bytesReceived + count) await nextTurn();
    };
    for (let round = 0; round < 3; round += 1) {
      while (broker.snapshot().connections > 0) await nextTurn();
      await using first = await client(address);
      await send(first, 80_000);
      await using second = await client(address);
      await send(second, 99_000);
      await using third = await client(address);
      third.send(bytes.subarray(0, 99_000));
      await third.expectDisconnect(0x89);
      first.send(bytes.subarray(80_000));
      await first.ping();
    }
  });

  it("subscriptionsPerSessionMax: refuses what is beyond it with 0x97, in MQTT 3.1.1 with 0x80", async () => {
    const { address } = await start({ subscriptionsPerSessionMax: 2 });
    await using five = await client(address);
    assert.deepEqual((await five.subscribe(["a", "b", "c"])).reasonCodes, [0, 0, 0x97]);
    assert.deepEqual((await five.subscribe(["a"])).reasonCodes, [0]);
    await five.unsubscribe("a");
    assert.deepEqual((await five.subscribe(["c"])).reasonCodes, [0]);
    await using four = await client(address, {}, 4);
    assert.deepEqual((await four.subscribe(["a", "b", "c"])).reasonCodes, [0, 0, 0x80]);
  });

  it("filtersPerSubscribeMax: ends the connection with 0x97", async () => {
    const { address } = await start({ filtersPerSubscribeMax: 2 });
    await using raw = await client(address);
    raw.send(
      packets.subscribe(5, 1, [
        ["a", 0],
        ["b", 0],
        ["c", 0],
      ]),
    );
    await raw.expectDisconnect(0x97);
  });

  it("sessionsMax: refuses new sessions with 0x89 and lets the old ones in", async () => {
    const { address } = await start({ sessionsMax: 1 });
    const first = await client(address, { clientId: "a", ...expiry(60) });
    await first.disconnect();
    await using second = await RawClient.open(address, 5);
    second.send(packets.connect(5, { clientId: "b" }));
    assert.equal((await second.expect("connack")).reasonCode, 0x89);
    await using again = await client(address, { clientId: "a", ...expiry(60) });
    assert.equal(again.connack.sessionPresent, true);
  });

  it("sessionExpirySecondsMax: caps the interval and says so in CONNACK", async () => {
    const { address } = await start({ sessionExpirySecondsMax: 30 });
    await using raw = await client(address, expiry(3_600));
    assert.equal(raw.connack.properties.sessionExpiryInterval, 30);
    await using short = await client(address, expiry(10));
    assert.equal(short.connack.properties.sessionExpiryInterval, undefined);
  });

  it("queuedMessagesMax with drop-oldest: keeps the newest, in order", async () => {
    const { address, broker } = await start({ queuedMessagesMax: 3 });
    assert.deepEqual(await queueAndRead(address), ["3", "4", "5"]);
    assert.equal(broker.snapshot().counters.queueDropped, 2);
  });

  it("queuedMessagesMax with drop-newest: keeps the oldest, in order", async () => {
    const { address } = await start({ queuedMessagesMax: 3, queueFullPolicy: "drop-newest" });
    assert.deepEqual(await queueAndRead(address), ["1", "2", "3"]);
  });

  it("queuedBytesMax: counts topic and payload", async () => {
    const { address } = await start({ queuedBytesMax: 8 });
    assert.deepEqual(await queueAndRead(address), ["2", "3", "4", "5"]);
  });

  it("inflightMessagesMax and Receive Maximum: no more unacknowledged messages than the lower of both", async () => {
    const { address } = await start({ inflightMessagesMax: 3 });
    for (const [receiveMaximum, expected] of [
      [2, 2],
      [10, 3],
    ] as const) {
      await using subscriber = await client(address, {
        properties: [property.receiveMaximum(receiveMaximum)],
      });
      const topic = `in/${receiveMaximum}`;
      await subscriber.subscribe(topic, 1);
      await using publisher = await client(address);
      for (const payload of ["1", "2", "3", "4", "5"]) await publisher.publish({ topic, payload, qos: 1 });
      const first = [];
      for (let count = 0; count < expected; count += 1) first.push(await subscriber.expect("publish"));
      await subscriber.expectNothing();
      for (const publish of first) await subscriber.acknowledge(publish);
      const rest = await subscriber.receivePayloads(5 - expected);
      assert.deepEqual([...first.map(({ payload }) => payload), ...rest], ["1", "2", "3", "4", "5"]);
    }
  });

  it("retainedMessagesMax: refuses the one too many with 0x97 and keeps what there is", async () => {
    const { address } = await start({ retainedMessagesMax: 1 });
    await using raw = await client(address);
    assert.equal(await raw.publish({ topic: "a", payload: "1", qos: 1, retain: true }), 0x10);
    assert.equal(await raw.publish({ topic: "b", payload: "1", qos: 1, retain: true }), 0x97);
    assert.equal(await raw.publish({ topic: "a", payload: "2", qos: 1, retain: true }), 0x10);
    assert.equal(await raw.publish({ topic: "a", payload: "", qos: 1, retain: true }), 0x10);
    assert.equal(await raw.publish({ topic: "b", payload: "1", qos: 1, retain: true }), 0x10);
  });

  for (const limit of ["messagesPerSecondPerClientMax", "messagesPerSecondTotalMax"] as const) {
    it(`${limit}: slows a flood down by not reading; QoS 1 loses nothing, neighbours are served`, async () => {
      const { address, broker } = await start({ [limit]: 100, receiveMaximum: 1_000 });
      await using subscriber = await client(address);
      await subscriber.subscribe("flood", 1);
      await using publisher = await client(address);
      const startMs = performance.now();
      const flood = Array.from({ length: 300 }, (_, index) =>
        packets.publish(5, { topic: "flood", payload: `${index}`, qos: 1, packetId: index + 1 }),
      );
      publisher.send(...flood);
      const payloads = await subscriber.receivePayloads(300);
      const seconds = (performance.now() - startMs) / 1_000;
      assert.deepEqual(
        payloads,
        flood.map((_, index) => `${index}`),
      );
      assert.ok(seconds > 1.5, `300 messages in ${seconds.toFixed(2)} s`);
      assert.ok(broker.snapshot().counters.throttled > 0);
    });
  }

  it("outboundBytesMax: drops QoS 0 to a client that does not read, counts it, and bounds the memory", async () => {
    const { address, broker } = await start({ outboundBytesMax: 200_000 });
    await using stuck = await client(address);
    await stuck.subscribe("big");
    stuck.stopReading();
    await using publisher = await client(address);
    const payload = "x".repeat(50_000);
    for (let count = 0; count < 400; count += 1)
      publisher.send(packets.publish(5, { topic: "big", payload }));
    await publisher.ping();
    const { outboundBytes, counters } = broker.snapshot();
    assert.ok(counters.publishDropped > 100, `${counters.publishDropped} dropped`);
    assert.ok(outboundBytes <= 300_000, `${outboundBytes} bytes`);
    await publisher.ping();
  });
});

/** Five QoS 1 messages to an offline session; what it gets when it is back. */
async function queueAndRead(address: Address): Promise<string[]> {
  const subscriber = await client(address, { clientId: "offline", ...expiry(60) });
  await subscriber.subscribe("q", 1);
  await subscriber.disconnect();
  await using publisher = await client(address);
  for (const payload of ["1", "2", "3", "4", "5"]) await publisher.publish({ topic: "q", payload, qos: 1 });
  const back = await RawClient.open(address, 5);
  await back.connect({ clientId: "offline", ...expiry(60) });
  const payloads: string[] = [];
  await back.ping();
  while (back.arrived === "publish") payloads.push((await back.receive()).payload);
  await back.drop();
  return payloads;
}
