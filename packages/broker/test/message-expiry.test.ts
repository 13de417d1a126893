import assert from "node:assert/strict";
import { describe, it } from "node:test";

import { MemorySessionStore } from "@postern/store/memory-session-store";

import { publishPacket, request, subscribePacket } from "../src/testing/packets.ts";
import { nextTurn, Stage } from "./harness/stage.ts";

describe("message expiry", () => {
  it("counts from the publication of a delayed will, however long nothing came before (MQTT 5.0 §3.1.3.2.4)", async () => {
    await using stage = await Stage.open(new MemorySessionStore());
    const client = await stage.durable("client", 5, {
      will: {
        topic: "will",
        payload: Buffer.from("gone"),
        qos: 0,
        retain: true,
        properties: { willDelayInterval: 60, messageExpiryInterval: 10 },
      },
    });
    await stage.cut(client);
    assert.equal(stage.broker.snapshot().wills, 1);
    stage.clock.leap(61_000);
    while (stage.broker.snapshot().wills > 0) await nextTurn();
    const watcher = await stage.client("watcher", 5);
    watcher.send(subscribePacket(5, 1, [request("will")]));
    const { payload, properties } = await watcher.take("publish");
    assert.equal(payload.toString(), "gone");
    assert.equal(properties.messageExpiryInterval, 10);
  });

  it("is not made longer on the way, not even from nothing [MQTT-3.3.2-6]", async () => {
    await using stage = await Stage.open(new MemorySessionStore());
    const subscriber = await stage.client("subscriber", 5);
    subscriber.send(subscribePacket(5, 1, [request("t")]));
    await subscriber.take("suback");
    for (const messageExpiryInterval of [0, 1, 7]) {
      subscriber.send(publishPacket(5, { topic: "t", payload: "", properties: { messageExpiryInterval } }));
      const { properties } = await subscriber.take("publish");
      assert.equal(properties.messageExpiryInterval, messageExpiryInterval);
    }
  });
});
