import assert from "node:assert/strict";
import { describe, it } from "node:test";

import { startInProcess } from "../support/in-process.ts";
import { property, type ConnectOptions, type Version } from "../support/packets.ts";
import { RawClient } from "../support/raw-client.ts";

/** What clients see when the broker shuts down. */
async function connected(address: { host: string; port: number }, version: Version, options: ConnectOptions) {
  const client = await RawClient.open(address, version);
  await client.connect(options);
  return client;
}

describe("A broker that shuts down", { concurrency: true }, () => {
  it("tells clients of MQTT 5 so with 0x8B and closes the connections of all", async () => {
    await using broker = await startInProcess();
    const { plain } = broker.listeners;
    await using old = await connected(plain, 4, { clientId: "old" });
    await using young = await connected(plain, 5, { clientId: "young" });
    await using silent = await RawClient.open(plain, 5);
    const stopped = broker.stop();
    await young.expectDisconnect(0x8b);
    await old.expectClosed();
    await silent.expectClosed();
    await stopped;
    await assert.rejects(RawClient.open(plain, 5));
  });

  it("publishes no will of a client whose session goes on, and sends what is on its way first", async () => {
    await using broker = await startInProcess();
    const { plain } = broker.listeners;
    await using watcher = await connected(plain, 5, { clientId: "watcher" });
    await watcher.subscribe(["w", "t"], 0);
    await using client = await connected(plain, 5, {
      clientId: "client",
      will: { topic: "w", payload: "will", properties: [property.willDelayInterval(60)] },
      properties: [property.sessionExpiryInterval(600)],
    });
    await client.publish({ topic: "t", payload: "last words" });
    const stopped = broker.stop();
    assert.equal((await watcher.receive()).payload, "last words");
    await watcher.expectDisconnect(0x8b);
    await client.expectDisconnect(0x8b);
    await stopped;
  });

  it("waits for nobody who has connected and said nothing", async () => {
    await using broker = await startInProcess();
    const { plain, webSocket } = broker.listeners;
    await using silent = await RawClient.open(plain, 5);
    await using overHttp = await RawClient.open(webSocket, 5);
    const startedMs = performance.now();
    await Promise.all([broker.stop(), silent.expectClosed(), overHttp.expectClosed()]);
    assert.ok(performance.now() - startedMs < 4_000);
  });
});
