import assert from "node:assert/strict";
import { subscribe, unsubscribe } from "node:diagnostics_channel";
import { describe, it } from "node:test";

import { MemorySessionStore } from "@postern/store/memory-session-store";

import { connectPacket, HandClient } from "../src/testing/hand-client.ts";
import { openBroker } from "../src/testing/open-broker.ts";
import { ackPacket, publishPacket, request, subscribePacket } from "../src/testing/packets.ts";

/** Its packet has memory of `memoryBytes`, and nothing else here has. */
const payloadBytes = 100_000;
const memoryBytes = 163_840;
const count = 12;
const puback = 4;

/** Counts how many pieces of memory of that size were given back by the time it is disposed of. */
class MemoryWatch implements Disposable {
  count = 0;
  readonly #listen = (bytes: unknown): void => {
    if (bytes instanceof Uint8Array && bytes.length === memoryBytes) this.count += 1;
  };

  constructor() {
    subscribe("postern:memory-over", this.#listen);
  }

  [Symbol.dispose](): void {
    unsubscribe("postern:memory-over", this.#listen);
  }
}

interface Stage extends AsyncDisposable {
  readonly writer: HandClient;
  readonly reader: HandClient;
  readonly watch: MemoryWatch;
}

/** A reader that takes one message at a time, and a writer. */
async function openStage(limits: Parameters<typeof openBroker>[0]["limits"] = {}): Promise<Stage> {
  const stack = new AsyncDisposableStack();
  const watch = stack.use(new MemoryWatch());
  // What is handed to other threads is in memory of the same size.
  const opened = openBroker({ store: new MemorySessionStore(), limits, workers: 1 });
  stack.defer(() => opened.broker.close());
  const address = { host: "127.0.0.1", port: (await opened.listen()).port };
  const one = { properties: { receiveMaximum: 1 } };
  const reader = stack.use(await HandClient.connected(address, connectPacket("reader", 5, one)));
  reader.send(subscribePacket(5, 1, [request("large", 1)]));
  await reader.take("suback");
  const writer = stack.use(await HandClient.connected(address, connectPacket("writer", 5)));
  return { writer, reader, watch, [Symbol.asyncDispose]: () => stack.disposeAsync() };
}

async function write(writer: HandClient): Promise<void> {
  for (let index = 0; index < count; index += 1) {
    const payload = Buffer.alloc(payloadBytes, index + 1);
    writer.send(publishPacket(5, { topic: "large", payload, qos: 1, packetId: index + 1 }));
  }
  for (let index = 0; index < count; index += 1) await writer.take("puback");
}

async function read(reader: HandClient, index: number): Promise<void> {
  const { payload, packetId } = await reader.take("publish");
  assert.ok(payload.equals(Buffer.alloc(payloadBytes, index + 1)), `message ${index} is another`);
  reader.send(ackPacket(puback, packetId));
}

describe("the memory of large messages that wait for a reader", () => {
  it("is used again once they are sent", async () => {
    await using stage = await openStage();
    const { writer, reader, watch } = stage;
    await write(writer);
    assert.ok(watch.count <= 1, "nothing of what waits is given back");
    for (let index = 0; index < count; index += 1) await read(reader, index);
    await reader.ping();
    assert.equal(watch.count, count);
  });

  it("is used again when they give way to newer ones", async () => {
    await using stage = await openStage({ queuedMessagesMax: 3 });
    const { writer, reader, watch } = stage;
    await write(writer);
    for (const index of [0, count - 3, count - 2, count - 1]) await read(reader, index);
    await reader.ping();
    assert.equal(watch.count, count);
  });

  it("is used again when the reader is gone", { timeout: 30_000 }, async () => {
    await using stage = await openStage();
    const { writer, reader, watch } = stage;
    await write(writer);
    await reader[Symbol.asyncDispose]();
    while (watch.count < count) await writer.ping();
    assert.equal(watch.count, count);
  });
});
