import assert from "node:assert/strict";
import { describe, it } from "node:test";

import { MemorySessionStore } from "@postern/store/memory-session-store";

import { connectPacket, HandClient } from "../src/testing/hand-client.ts";
import { openBroker } from "../src/testing/open-broker.ts";
import { ackPacket, publishPacket, request, subscribePacket } from "../src/testing/packets.ts";

const payload = Buffer.alloc(10_000);
const totalBytesMax = 400_000;
const slowCount = 4;
/** What comes at once: the first is sent, the others wait for its acknowledgement. */
const atOnce = 3;
const rounds = 30;
const puback = 4;

describe("readers that acknowledge nothing and fill what all queues may hold together", () => {
  for (const kept of [false, true]) {
    it(`leave room for those who do, in sessions that are ${kept ? "kept" : "not kept"}`, async () => {
      await using stack = new AsyncDisposableStack();
      const opened = openBroker({
        store: new MemorySessionStore(),
        limits: { queuedMemoryBytesTotalMax: totalBytesMax, queuedBytesTotalMax: totalBytesMax },
      });
      stack.defer(() => opened.broker.close());
      const address = { host: "127.0.0.1", port: (await opened.listen()).port };
      const readerNamed = async (name: string): Promise<HandClient> => {
        const properties = { receiveMaximum: 1, ...(kept ? { sessionExpiryInterval: 3_600 } : {}) };
        const reader = stack.use(await HandClient.connected(address, connectPacket(name, 5, { properties })));
        reader.send(subscribePacket(5, 1, [request("load", 1)]));
        await reader.take("suback");
        return reader;
      };
      for (let index = 0; index < slowCount; index += 1) await readerNamed(`slow-${index}`);
      const reader = await readerNamed("reader");
      const writer = stack.use(await HandClient.connected(address, connectPacket("writer", 5)));

      let packetId = 0;
      for (let round = 0; round < rounds; round += 1) {
        for (let index = 0; index < atOnce; index += 1)
          writer.send(publishPacket(5, { topic: "load", payload, qos: 1, packetId: (packetId += 1) }));
        for (let index = 0; index < atOnce; index += 1) await writer.take("puback");
        for (let index = 0; index < atOnce; index += 1)
          reader.send(ackPacket(puback, (await reader.take("publish")).packetId));
        const { queuedMemoryBytes, queuedBytes } = opened.broker.snapshot();
        assert.ok(queuedMemoryBytes + queuedBytes <= totalBytesMax);
      }
      const { queuedMemoryBytes, queuedBytes } = opened.broker.snapshot();
      assert.ok(queuedMemoryBytes + queuedBytes > totalBytesMax / 2, "the others did not fill it");
    });
  }
});
