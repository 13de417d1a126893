import assert from "node:assert/strict";
import { once } from "node:events";
import { describe, it } from "node:test";

import { encodeConnect } from "@postern/mqtt/connect";
import { MemorySessionStore } from "@postern/store/memory-session-store";
import { WebSocket } from "ws";

import { connectPacket, durableConnect, HandClient } from "../src/testing/hand-client.ts";
import { openBroker } from "../src/testing/open-broker.ts";
import { ackPacket, publishPacket, request, subscribePacket } from "../src/testing/packets.ts";

/** Large enough to be passed on by reference, and several of them come in one piece of memory. */
const payloadBytes = 40_000;
const count = 6;
const puback = 4;
/** Whether the session is kept, and the QoS of the subscription. */
const subscribers = [
  [true, 1],
  [true, 1],
  [false, 1],
  [false, 0],
  [true, 0],
  [false, 1],
] as const;

describe("large messages that come in one WebSocket message", () => {
  for (const version of [4, 5] as const) {
    it(`reach every subscriber whole, whoever else keeps them, in MQTT ${version === 4 ? "3.1.1" : "5"} (§6)`, async () => {
      await using stack = new AsyncDisposableStack();
      const opened = openBroker({ store: new MemorySessionStore() });
      stack.defer(() => opened.broker.close());
      const address = { host: "127.0.0.1", port: (await opened.listen()).port };
      const clients: HandClient[] = [];
      for (const [index, [isKept, qos]] of subscribers.entries()) {
        const packet = isKept ? durableConnect : connectPacket;
        const client = stack.use(await HandClient.connected(address, packet(`reader-${index}`, version)));
        client.send(subscribePacket(version, 1, [request("large", qos)]));
        await client.take("suback");
        clients.push(client);
      }

      const publisher = new WebSocket((await opened.listen("ws")).url, "mqtt");
      stack.defer(() => publisher.terminate());
      await once(publisher, "open");
      publisher.send(encodeConnect(connectPacket("writer", version)));
      await once(publisher, "message");
      const packets = Array.from({ length: count }, (_, index) => {
        const payload = Buffer.alloc(payloadBytes, index);
        return publishPacket(version, { topic: "large", payload, qos: 1, packetId: index + 1 });
      });
      publisher.send(Buffer.concat(packets));

      for (const client of clients) {
        for (let index = 0; index < count; index += 1) {
          const { payload, qos, packetId } = await client.take("publish");
          assert.ok(payload.equals(Buffer.alloc(payloadBytes, index)), `message ${index} is another`);
          if (qos === 1) client.send(ackPacket(puback, packetId));
        }
        await client.ping();
        assert.deepEqual(client.received, []);
      }
    });
  }
});

/** Around the sizes from which packets have memory of their own, are cut, and are read in several pieces. */
const sizes = [8_000, 8_200, 16_384, 65_536, 20_000, 65_500, 130_000, 400_000, 9_000, 1_000_000];
const writersCount = 3;

describe("large messages over TCP", () => {
  it("come whole and in order, while the memory of those that are sent is used for those that come (§4.6)", async () => {
    await using stack = new AsyncDisposableStack();
    const opened = openBroker({ store: new MemorySessionStore() });
    stack.defer(() => opened.broker.close());
    const address = { host: "127.0.0.1", port: (await opened.listen()).port };
    const readers: HandClient[] = [];
    for (const [index, [isKept, qos]] of subscribers.entries()) {
      const packet = isKept ? durableConnect : connectPacket;
      const reader = stack.use(await HandClient.connected(address, packet(`reader-${index}`, 5)));
      reader.send(subscribePacket(5, 1, [request("large/+", qos)]));
      await reader.take("suback");
      readers.push(reader);
    }
    const writers: HandClient[] = [];
    for (let index = 0; index < writersCount; index += 1)
      writers.push(stack.use(await HandClient.connected(address, connectPacket(`writer-${index}`, 5))));

    for (const [round, size] of sizes.entries()) {
      for (const [index, writer] of writers.entries()) {
        const payload = Buffer.alloc(size, round * writersCount + index + 1);
        // Retained by one, so that the same bytes are kept, queued and sent.
        const fields = { topic: `large/${index}`, payload, retain: index === 0 };
        writer.send(publishPacket(5, { ...fields, qos: 1, packetId: round + 1 }));
        writer.send(publishPacket(5, fields));
      }
      for (const reader of readers) {
        const next = writers.map(() => 0);
        for (let count = 0; count < writersCount * 2; count += 1) {
          const { topic, payload, qos, packetId } = await reader.take("publish");
          const index = Number(topic.split("/")[1]);
          next[index] = (next[index] ?? 0) + 1;
          const expected = Buffer.alloc(size, round * writersCount + index + 1);
          assert.ok(payload.equals(expected), `${topic} of round ${round} is another`);
          if (qos === 1) reader.send(ackPacket(puback, packetId));
        }
        assert.deepEqual(
          next,
          writers.map(() => 2),
        );
      }
    }
    const late = stack.use(await HandClient.connected(address, connectPacket("late", 5)));
    late.send(subscribePacket(5, 1, [request("large/0", 0)]));
    const { payload } = await late.take("publish");
    assert.ok(payload.equals(Buffer.alloc(sizes.at(-1) ?? 0, (sizes.length - 1) * writersCount + 1)));
  });
});
