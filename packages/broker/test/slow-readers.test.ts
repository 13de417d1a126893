import assert from "node:assert/strict";
import { describe, it } from "node:test";

import { pingreqBytes } from "@postern/mqtt/control";
import { MemorySessionStore } from "@postern/store/memory-session-store";

import { ControlledStore } from "./harness/controlled-store.ts";
import { publishPacket, request, subscribePacket } from "../src/testing/packets.ts";
import { nextTurn, Stage } from "./harness/stage.ts";

const outboundBytesMax = 262_144;
/** What one chunk of input can still cause after the limit was reached. */
const slackBytes = 131_072;

/** The most bytes that wait for clients while `packet` is sent over and over by a client that reads nothing. */
async function floodUnread(stage: Stage<MemorySessionStore>, packet: Buffer, bytes: number): Promise<number> {
  const flooder = await stage.client("flooder", 5);
  flooder.keeps = () => false;
  flooder.wire.socket.pause();
  const chunk = Buffer.concat(Array.from({ length: Math.ceil(65_536 / packet.length) }, () => packet));
  let worst = 0;
  let sent = 0;
  let stuckTurns = 0;
  while (sent < bytes && stuckTurns < 200) {
    if (flooder.wire.socket.writableNeedDrain) {
      stuckTurns += 1;
      // Whoever reads it may be another thread, which has to wait for a core.
      await new Promise((done) => setTimeout(done, 1));
    } else {
      flooder.send(chunk);
      sent += chunk.length;
      stuckTurns = 0;
    }
    await nextTurn();
    worst = Math.max(worst, stage.broker.snapshot().outboundBytes);
  }
  // It reads again: everything that was asked is answered.
  flooder.wire.socket.resume();
  const answered = (): boolean =>
    !flooder.wire.socket.writableNeedDrain && stage.broker.snapshot().outboundBytes === 0;
  while (!answered() && !flooder.closed) await nextTurn();
  flooder.keeps = () => true;
  await flooder.ping();
  return worst;
}

describe("a client that sends and does not read", () => {
  for (const { name, packet } of [
    { name: "PINGREQ", packet: pingreqBytes },
    { name: "SUBSCRIBE", packet: subscribePacket(5, 1, [request("a"), request("b"), request("c")]) },
    {
      name: "PUBLISH with QoS 1",
      packet: publishPacket(5, { topic: "t", payload: "", qos: 1, packetId: 1 }),
    },
  ]) {
    it(`is not read any more once its answers fill its share of memory: ${name}`, async () => {
      await using stage = await Stage.open(new MemorySessionStore(), { limits: { outboundBytesMax } });
      const worst = await floodUnread(stage, packet, 32_000_000);
      assert.ok(worst > outboundBytesMax, `the flood was too small: ${worst} bytes`);
      assert.ok(worst < outboundBytesMax + slackBytes, `${worst} bytes waited for one client`);
    });
  }
});

describe("keep alive", () => {
  it("is not held against a client that the broker itself does not read from", async () => {
    await using stage = await Stage.open(new ControlledStore(), { beforeClose: (store) => store.mend() });
    const device = await stage.durable("device", 5, { keepAliveSeconds: 10 });
    stage.store.fail(new Error("ENOSPC"));
    device.send(publishPacket(5, { topic: "t", payload: "x", qos: 1, packetId: 1, retain: true }));
    while (stage.broker.storeFailure === undefined) await nextTurn();
    // The client goes on as it should; its PINGREQ stays unread.
    stage.clock.leap(14_000);
    device.send(pingreqBytes);
    await new Promise((done) => setTimeout(done, 150));
    stage.clock.leap(14_000);
    await new Promise((done) => setTimeout(done, 150));
    assert.equal(device.closed, false);
    stage.store.mend();
    await device.take("pingresp");
    stage.clock.leap(16_000);
    assert.equal((await device.take("disconnect")).reasonCode, 0x8d, "keep alive no longer counts");
  });
});
