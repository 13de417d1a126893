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
