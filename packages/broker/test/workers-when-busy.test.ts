import assert from "node:assert/strict";
import { after, describe, it } from "node:test";

import { MemorySessionStore } from "@postern/store/memory-session-store";

import { connectPacket, HandClient } from "../src/testing/hand-client.ts";
import { openBroker, type OpenBroker } from "../src/testing/open-broker.ts";
import { publishPacket, request, subscribePacket } from "../src/testing/packets.ts";

const closing: (() => Promise<unknown>)[] = [];
after(async () => {
  for (const close of closing.toReversed()) await close();
});

function start(workers: number): OpenBroker {
  const opened = openBroker({ store: new MemorySessionStore(), workers, workersWhenBusy: true });
  closing.push(() => opened.broker.close());
  return opened;
}

async function client(port: number, clientId: string): Promise<HandClient> {
  const hand = await HandClient.connected({ host: "127.0.0.1", port }, connectPacket(clientId, 5));
  closing.push(() => hand[Symbol.asyncDispose]());
  return hand;
}

function clients(port: number, name: string, count: number): Promise<HandClient[]> {
  return Promise.all(Array.from({ length: count }, (_, index) => client(port, `${name}-${index}`)));
}

/** This thread, which is that of the broker, is busy until there are so many threads. */
async function busyUntil({ broker }: OpenBroker, threadCount: number): Promise<void> {
  const deadline = performance.now() + 20_000;
  while (broker.threadCount < threadCount) {
    assert.ok(performance.now() < deadline, "no thread was started");
    const turnEnd = performance.now() + 20;
    while (performance.now() < turnEnd);
    await new Promise((resolve) => setImmediate(resolve));
  }
}

async function receives(reader: HandClient, from: readonly HandClient[]): Promise<void> {
  reader.send(subscribePacket(5, 1, [request("all", 0)]));
  await reader.take("suback");
  for (const [index, sender] of from.entries())
    sender.send(publishPacket(5, { topic: "all", payload: `${index}` }));
  const seen = new Set<string>();
  for (const _ of from) seen.add((await reader.take("publish")).payload.toString());
  assert.equal(seen.size, from.length);
}

describe("threads that start when they are needed", () => {
  it("are none at first, and never more than allowed", async () => {
    const opened = start(2);
    assert.equal(opened.broker.threadCount, 1);
    const { port } = await opened.listen();
    await clients(port, "early", 8);
    assert.equal(opened.broker.threadCountMax, 2);
    await busyUntil(opened, 2);
    const end = performance.now() + 1_200;
    while (performance.now() < end) await new Promise((resolve) => setImmediate(resolve));
    assert.equal(opened.broker.threadCount, 2);
  });

  it("carry new connections beside those that are there, on every listener", async () => {
    const opened = start(2);
    const first = await opened.listen();
    const early = await clients(first.port, "early", 8);
    await busyUntil(opened, 2);
    const second = await opened.listen();
    for (const { port, name } of [first, second]) {
      const late = await clients(port, `late-${name}-${port}`, 24);
      const [reader] = late;
      assert.ok(reader !== undefined);
      await receives(reader, [...early, ...late]);
    }
    assert.equal(first.connectionCount, 32);
    assert.equal(second.connectionCount, 24);
    assert.equal(opened.broker.snapshot().connections, 56);
  });

  it("end with the server, also while one is being started", async () => {
    const opened = start(3);
    const { port } = await opened.listen();
    await clients(port, "client", 8);
    await busyUntil(opened, 2);
    await opened.broker.close();
    await assert.rejects(client(port, "too late"));
  });
});
