import assert from "node:assert/strict";
import { describe, it } from "node:test";

import type { HandClient } from "../src/testing/hand-client.ts";
import { publishPacket, request, subscribePacket } from "../src/testing/packets.ts";
import { ControlledStore } from "./harness/controlled-store.ts";
import { nextTurn, Stage } from "./harness/stage.ts";

const uncommittedBytesMax = 1_000_000;
/** What was read with the packet that reached the limit. */
const slackBytes = 200_000;
const floodBytes = 40_000_000;

function openSlow(): Promise<Stage<ControlledStore>> {
  return Stage.open(new ControlledStore(), {
    limits: { uncommittedBytesMax, queuedMessagesMax: 2_000_000 },
    beforeClose: (store) => {
      store.mend();
      store.releaseAll();
    },
  });
}

/** Sends packets until none is taken any more; how many. */
async function flood(flooder: HandClient, packet: (index: number) => Buffer): Promise<number> {
  let sent = 0;
  let bytes = 0;
  for (let stuckTurns = 0; bytes < floodBytes && stuckTurns < 300; stuckTurns += 1) {
    while (!flooder.wire.socket.writableNeedDrain && bytes < floodBytes) {
      sent += 1;
      stuckTurns = 0;
      const next = packet(sent);
      bytes += next.length;
      flooder.send(next);
    }
    await nextTurn();
  }
  return sent;
}

describe("a disk that is slower than the clients that write", () => {
  for (const payloadBytes of [16_000, 20]) {
    it(`stops the reading from them when too much waits for it, and loses nothing (payloads of ${payloadBytes} bytes)`, async () => {
      await using stage = await openSlow();
      const receiver = await stage.durable("receiver", 4);
      receiver.send(subscribePacket(4, 1, [request("stored", 1)]));
      await receiver.take("suback");
      await stage.cut(receiver);
      const reader = await stage.client("reader", 4);
      reader.send(subscribePacket(4, 1, [request("fleeting", 0)]));
      await reader.take("suback");
      const writer = await stage.client("writer", 4);
      const flooder = await stage.client("flooder", 4);

      stage.store.hold();
      const before = stage.broker.snapshot().counters.bytesReceived;
      const payload = "x".repeat(payloadBytes);
      const sent = await flood(flooder, (index) =>
        publishPacket(4, { topic: "stored", payload, qos: 1, packetId: 1 + (index % 65_535) }),
      );
      const read = stage.broker.snapshot().counters.bytesReceived - before;
      assert.ok(read < uncommittedBytesMax + slackBytes, `${read} bytes were read and wait for the disk`);
      assert.deepEqual(flooder.received, []);
      // Whoever asks for nothing durable goes on.
      writer.send(publishPacket(4, { topic: "fleeting", payload: "x" }));
      await reader.take("publish");

      stage.store.releaseAll();
      await flooder.until(() => flooder.received.length === sent, "an answer to every message");
      assert.equal(stage.broker.snapshot().queuedMessages, sent);
    });
  }
});
