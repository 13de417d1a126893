import assert from "node:assert/strict";
import { describe, it } from "node:test";

import { noProperties, PacketType, type Will } from "@postern/mqtt/packets";

import { ControlledStore } from "./harness/controlled-store.ts";
import { ackPacket, request, subscribePacket } from "../src/testing/packets.ts";
import { nextTurn, Stage } from "./harness/stage.ts";

function willSaying(text: string, delaySeconds = 0): Will {
  const properties = delaySeconds === 0 ? noProperties : { willDelayInterval: delaySeconds };
  return { topic: "will", payload: Buffer.from(text), qos: 1, retain: false, properties };
}

/** A broker whose predecessor was killed while a device with a will was connected. */
async function afterKill(durable: boolean, will: Will): Promise<Stage<ControlledStore>> {
  await using before = await Stage.open(new ControlledStore());
  const watcher = await before.durable("watcher", 5);
  watcher.send(subscribePacket(5, 1, [request("will", 2)]));
  await watcher.take("suback");
  await before[durable ? "durable" : "client"]("device", 5, { will });
  return Stage.open(before.store.afterCrash());
}

/** What the watcher gets from now until all wills that are due within the time have been published. */
async function published(stage: Stage<ControlledStore>, leapMs: number): Promise<string[]> {
  const watcher = await stage.durable("watcher", 5, { keepAliveSeconds: 0 });
  const { wills } = stage.broker.snapshot();
  stage.clock.leap(leapMs);
  const deadline = performance.now() + 400;
  while (performance.now() < deadline && stage.broker.snapshot().wills === wills) await nextTurn();
  await watcher.ping();
  const came = watcher.received.filter((packet) => packet.kind === "publish");
  watcher.send(...came.map(({ packetId }) => ackPacket(PacketType.puback, packetId)));
  await watcher.ping();
  return came.map(({ payload }) => payload.toString());
}

describe("a will that was left before the broker was killed", () => {
  it("is published once after the next start, when nobody comes back", async () => {
    for (const durable of [true, false]) {
      await using stage = await afterKill(durable, willSaying("old"));
      assert.deepEqual(await published(stage, 0), ["old"]);
      await using later = await Stage.open(stage.store.afterCrash());
      assert.deepEqual(await published(later, 3_600_000), []);
    }
  });

  it("waits for its delay, counted from the start (MQTT 5.0 §3.1.3.2.2)", async () => {
    await using stage = await afterKill(true, willSaying("old", 60));
    assert.equal(stage.broker.snapshot().wills, 1);
    assert.deepEqual(await published(stage, 61_000), ["old"]);
  });

  it("is not published when the client resumes its session before the delay is over", async () => {
    await using stage = await afterKill(true, willSaying("old", 60));
    await stage.durable("device", 5, { keepAliveSeconds: 0 });
    assert.deepEqual(await published(stage, 3_600_000), []);
  });

  it("is published, and not the new one, when the client is back at once with a new session", async () => {
    // Its session ended with the broker: the will is due although the client is there again.
    await using stage = await afterKill(false, willSaying("old"));
    await stage.client("device", 5, { will: willSaying("new") });
    assert.deepEqual(await published(stage, 1_000), ["old"]);
    assert.equal(stage.broker.snapshot().wills, 1, "the will of the connection that is open");
    assert.equal([...stage.store.loadWills()].length, 1);
  });
});
