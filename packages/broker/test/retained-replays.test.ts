import assert from "node:assert/strict";
import { describe, it } from "node:test";

import { MemorySessionStore } from "@postern/store/memory-session-store";

import { publishPacket, request, subscribePacket } from "../src/testing/packets.ts";
import { nextTurn, Stage } from "./harness/stage.ts";

const topicCount = 1_000;
const levels = ["a", "b", "c", "d", "e", "f", "g", "h"];

/** Retained messages on topics with many levels, so that many filters match them all. */
async function retain(stage: Stage<MemorySessionStore>): Promise<void> {
  const publisher = await stage.client("publisher", 5);
  const prefix = levels.join("/");
  for (let index = 0; index < topicCount; index += 1)
    publisher.send(
      publishPacket(5, { topic: `${prefix}/${index}`, payload: "x", retain: true, qos: 1, packetId: 1 }),
    );
  await publisher.until(() => publisher.received.length === topicCount, "every PUBACK");
}

/** `count` different filters, each of which matches all the topics. */
function filters(count: number): string[] {
  return Array.from({ length: count }, (_, bits) =>
    [...levels, "+"].map((level, index) => ((bits >> index) & 1 ? "+" : level)).join("/"),
  );
}

describe("a SUBSCRIBE with many filters that match many retained messages", () => {
  it("keeps nobody else waiting until all of them are queued", async () => {
    await using stage = await Stage.open(new MemorySessionStore());
    await retain(stage);
    const other = await stage.client("other", 5);
    const subscriber = await stage.durable("subscriber", 5, {
      properties: { sessionExpiryInterval: 3_600, receiveMaximum: 1 },
    });
    const owed = 60 * topicCount;
    subscriber.send(
      subscribePacket(
        5,
        1,
        filters(60).map((filter) => request(filter, 1)),
      ),
    );
    await subscriber.take("suback");
    await other.ping();
    const { queuedMessages } = stage.broker.snapshot();
    assert.ok(queuedMessages < owed - 1, `all ${queuedMessages} were queued before anybody else was served`);
    while (stage.broker.snapshot().queuedMessages < owed - 1) await nextTurn();
  });

  it("goes on into the session of a client that is gone", async () => {
    await using stage = await Stage.open(new MemorySessionStore());
    await retain(stage);
    const subscriber = await stage.durable("subscriber", 5);
    subscriber.send(
      subscribePacket(
        5,
        1,
        filters(60).map((filter) => request(filter, 1)),
      ),
    );
    await subscriber.take("suback");
    subscriber.wire.destroy();
    while (stage.broker.snapshot().queuedMessages < 60 * topicCount) await nextTurn();
  });

  it("drops none of them for a client without a session, however large they are (MQTT 5.0 §3.3.1.3)", async () => {
    await using stage = await Stage.open(new MemorySessionStore(), {
      limits: { outboundBytesMax: 1_500_000 },
    });
    const publisher = await stage.client("publisher", 5);
    const payload = Buffer.alloc(100_000);
    for (let index = 0; index < 60; index += 1)
      publisher.send(publishPacket(5, { topic: `t/${index}`, payload, retain: true, qos: 1, packetId: 1 }));
    await publisher.until(() => publisher.received.length === 60, "every PUBACK");
    const subscriber = await stage.client("subscriber", 5);
    subscriber.send(subscribePacket(5, 1, [request("t/+")]));
    await subscriber.until(() => subscriber.received.length === 61, "SUBACK and every retained message");
  });
});
