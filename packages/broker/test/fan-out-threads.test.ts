import assert from "node:assert/strict";
import { describe, it } from "node:test";

import type { HandClient } from "../src/testing/hand-client.ts";
import { publishPacket, request, subscribePacket } from "../src/testing/packets.ts";
import { client, start } from "./support/broker-of-two-threads.ts";

/** So many that some are in each of two threads, and that what all get is named to those of the second. */
const readersCount = 20;

/** Each of them subscribed to what all get, to what half of them get, and to what it gets alone. */
function readersOn(port: number, versionOf: (index: number) => 4 | 5): Promise<HandClient[]> {
  return Promise.all(
    Array.from({ length: readersCount }, async (_, index) => {
      const version = versionOf(index);
      const reader = await client(port, `reader-${index}`, version);
      const filters = ["all", "all-1", `half/${index % 2}`, `own/${index}`];
      const requests = filters.map((filter) => request(filter, filter === "all-1" ? 1 : 0));
      reader.send(subscribePacket(version, 1, requests));
      await reader.take("suback");
      return reader;
    }),
  );
}

async function until(done: () => boolean, what: string): Promise<void> {
  const deadline = performance.now() + 30_000;
  while (!done()) {
    assert.ok(performance.now() < deadline, `gave up waiting for ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

/** What came, as the number that its payload begins with. */
function numbersOf(reader: HandClient): number[] {
  return reader.received.flatMap((packet) =>
    packet.kind === "publish" ? [Number.parseInt(packet.payload.toString(), 10)] : [],
  );
}

describe("what many get, some of them in another thread", () => {
  it("comes in order with what only one gets, half of them get, and what has a packet id (MQTT 5.0 §4.6)", async () => {
    const { port } = await start().listen();
    const readers = await readersOn(port, (index) => (index % 3 === 0 ? 4 : 5));
    const publisher = await client(port, "publisher");
    const topics = [
      "all",
      "all",
      "half/0",
      "all",
      "half/1",
      "own/3",
      "all",
      "all-1",
      "half/0",
      "half/0",
      "all",
    ];
    const sent = Array.from({ length: 1_500 }, (_, number) => ({
      number,
      // Turns of nothing but what many get, and turns with all sorts.
      topic:
        number % 300 < 150 ? (number % 5 < 3 ? "all" : "half/1") : (topics[number % topics.length] ?? ""),
    }));
    for (let at = 0; at < sent.length; at += 150) {
      publisher.send(
        ...sent.slice(at, at + 150).map(({ number, topic }) => {
          const qos = topic === "all-1" ? 1 : 0;
          return publishPacket(5, { topic, payload: `${number}`, qos, packetId: qos === 1 ? number + 1 : 0 });
        }),
      );
      await publisher.ping();
    }
    for (const [index, reader] of readers.entries()) {
      const mine = new Set(["all", "all-1", `half/${index % 2}`, `own/${index}`]);
      const expected = sent.filter(({ topic }) => mine.has(topic)).map(({ number }) => number);
      await reader.until(() => numbersOf(reader).length >= expected.length, "all of it");
      assert.deepEqual(numbersOf(reader), expected);
    }
  });

  it("waits in bounded memory for those who do not read, and comes to the others", async () => {
    const outboundBytesMax = 131_072;
    const opened = start({ limits: { outboundBytesMax } });
    const { broker } = opened;
    const { port } = await opened.listen();
    const readers = await readersOn(port, () => 5);
    const lazy = readers.slice(0, readersCount / 2);
    const quick = readers.slice(readersCount / 2);
    for (const { wire } of lazy) wire.socket.pause();
    const publisher = await client(port, "publisher");
    let last = 0;
    for (const reader of quick)
      reader.keeps = (packet) =>
        packet.kind !== "publish" || packet.payload.toString().startsWith(`${last} `);
    const filling = "x".repeat(1_000);
    let worst = 0;
    while (broker.snapshot().counters.publishDropped < 1_000) {
      last += 1;
      assert.ok(last < 2_000, "nothing is dropped for those who do not read");
      const packet = publishPacket(5, { topic: "all", payload: `${last} ${filling}` });
      publisher.send(...Array.from({ length: 50 }, () => packet));
      await publisher.ping();
      for (const reader of quick) {
        await reader.until(() => reader.received.length >= 50, `round ${last}`);
        assert.equal(reader.received.length, 50);
        reader.received = [];
      }
      worst = Math.max(worst, broker.snapshot().outboundBytes);
    }
    // Each may have what one turn brings beyond its share.
    assert.ok(worst <= lazy.length * (outboundBytesMax + 65_536), `${worst} bytes waited`);
    for (const { wire } of lazy) wire.socket.resume();
    for (const reader of lazy) {
      await reader.ping();
      const rounds = numbersOf(reader);
      assert.deepEqual(
        rounds,
        rounds.toSorted((a, b) => a - b),
      );
    }
    await until(() => broker.snapshot().outboundBytes === 0, "all to be written");
  });

  it("comes to those who stay, while others leave in the midst", async () => {
    const opened = start();
    const { broker } = opened;
    const { port } = await opened.listen();
    const readers = await readersOn(port, () => 5);
    const publisher = await client(port, "publisher");
    const leaving = readers.slice(0, readersCount / 2);
    const staying = readers.slice(readersCount / 2);
    const packets = Array.from({ length: 2_000 }, (_, number) =>
      publishPacket(5, { topic: "all", payload: `${number}` }),
    );
    for (let at = 0; at < packets.length; at += 200) {
      publisher.send(...packets.slice(at, at + 200));
      leaving[at / 200]?.wire.destroy();
    }
    await publisher.ping();
    for (const reader of staying) {
      await reader.until(() => numbersOf(reader).length >= packets.length, "all of it");
      assert.deepEqual(
        numbersOf(reader),
        packets.map((_, number) => number),
      );
    }
    await until(() => {
      const { connections, outboundBytes } = broker.snapshot();
      return connections === staying.length + 1 && outboundBytes === 0;
    }, "those who left to be gone");
  });
});
