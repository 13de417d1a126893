import assert from "node:assert/strict";
import { after, describe, it } from "node:test";

import { MemorySessionStore } from "@postern/store/memory-session-store";

import { openBroker, type OpenBroker } from "../src/testing/open-broker.ts";
import type * as packets from "./support/packets.ts";
import { property } from "./support/packets.ts";
import { RawClient, type Address } from "./support/raw-client.ts";

const brokers: OpenBroker[] = [];
after(() => Promise.all(brokers.map(({ broker }) => broker.close())));

/** A broker where the user name is who one is. */
async function start(): Promise<OpenBroker & { readonly address: Address }> {
  const opened = openBroker({
    store: new MemorySessionStore(),
    ports: {
      authenticator: {
        exchange: () => undefined,
        authenticate: ({ username = "" }) => ({
          kind: "accepted",
          identity: { name: username, anonymous: username === "" },
          untilMs: Infinity,
        }),
      },
    },
  });
  brokers.push(opened);
  const { port } = await opened.listen();
  return { ...opened, address: { host: "127.0.0.1", port } };
}

const persistent = { clean: false, properties: [property.sessionExpiryInterval(60)] };
const administrativeAction = 0x98;

async function client(
  address: Address,
  clientId: string,
  options: packets.ConnectOptions,
  version: packets.Version = 5,
): Promise<RawClient> {
  const raw = await RawClient.open(address, version);
  await raw.connect({ clientId, ...options });
  return raw;
}

describe("endSessionsOf", () => {
  it("cuts all connections of an identity, tells MQTT 5 clients why, and leaves the others alone", async () => {
    const { address, broker } = await start();
    await using first = await client(address, "a", { username: "lamp" });
    await using second = await client(address, "b", { username: "lamp", ...persistent });
    await using old = await client(address, "c", { username: "lamp", clean: false, properties: [] }, 4);
    await using other = await client(address, "d", { username: "pump" });
    await using nobody = await client(address, "e", {});
    assert.equal(broker.endSessionsOf("lamp", administrativeAction), 3);
    await first.expectDisconnect(administrativeAction);
    await second.expectDisconnect(administrativeAction);
    await old.expectClosed(1_000);
    await other.ping();
    await nobody.ping();
    assert.equal(broker.snapshot().sessions, 2);
    assert.equal(broker.endSessionsOf("", administrativeAction), 0);
    assert.equal(broker.endSessionsOf("nobody", administrativeAction), 0);
  });

  it("forgets sessions whose client is away, their queues and their subscriptions", async () => {
    const { address, broker } = await start();
    const away = await client(address, "a", { username: "lamp", ...persistent });
    await away.subscribe("t", 1);
    await away.drop();
    await using other = await client(address, "d", { username: "pump" });
    await other.publish({ topic: "t", payload: "secret", qos: 1 });
    assert.equal(broker.snapshot().queuedMessages, 1);
    assert.equal(broker.endSessionsOf("lamp", administrativeAction), 1);
    const { queuedMessages, queuedBytes, sessions, subscriptions } = broker.snapshot();
    assert.deepEqual([queuedMessages, queuedBytes, sessions, subscriptions], [0, 0, 1, 0]);
    await using back = await RawClient.open(address, 5);
    assert.equal(
      (await back.connect({ clientId: "a", username: "lamp", ...persistent })).sessionPresent,
      false,
    );
  });

  it("publishes none of its wills: neither of connections nor one that waits for its delay", async () => {
    const { address, broker } = await start();
    const delayed = { topic: "will/b", payload: "x", properties: [property.willDelayInterval(1)] };
    await using watcher = await client(address, "w", { username: "pump" });
    await watcher.subscribe("will/#", 0);
    await using live = await client(address, "a", {
      username: "lamp",
      will: { topic: "will/a", payload: "x" },
    });
    const lost = await client(address, "b", { username: "lamp", ...persistent, will: delayed });
    await lost.drop();
    await new Promise((resolve) => setTimeout(resolve, 20));
    broker.endSessionsOf("lamp", administrativeAction);
    await live.expectDisconnect(administrativeAction);
    assert.equal(broker.snapshot().wills, 0);
    await new Promise((resolve) => setTimeout(resolve, 1_200));
    await watcher.ping();
  });

  it("sends nothing more of what waited for a client that reads slowly, and does not wait for it", async () => {
    const { address, broker } = await start();
    const slow = await client(address, "a", { username: "lamp" });
    await slow.subscribe("t", 0);
    slow.stopReading();
    await using other = await client(address, "d", { username: "pump" });
    const payload = Buffer.alloc(500_000);
    for (let count = 0; count < 20; count += 1) await other.publish({ topic: "t", payload, qos: 1 });
    const started = performance.now();
    broker.endSessionsOf("lamp", administrativeAction);
    while (broker.snapshot().connections > 1) await new Promise((resolve) => setTimeout(resolve, 10));
    assert.ok(performance.now() - started < 1_000, `${performance.now() - started} ms`);
    assert.equal(broker.snapshot().outboundBytes, 0);
    await slow.drop();
  });
});

describe("endConnectionsOf", () => {
  it("has an identity prove itself again, and keeps its sessions with what is queued", async () => {
    const { address, broker } = await start();
    await using first = await client(address, "a", { username: "lamp", ...persistent });
    await first.subscribe("t", 1);
    await using other = await client(address, "d", { username: "pump" });
    assert.equal(broker.endConnectionsOf("lamp", administrativeAction), 1);
    await first.expectDisconnect(administrativeAction);
    await other.publish({ topic: "t", payload: "kept", qos: 1 });
    await using back = await RawClient.open(address, 5);
    assert.equal(
      (await back.connect({ clientId: "a", username: "lamp", ...persistent })).sessionPresent,
      true,
    );
    assert.equal(Buffer.from((await back.expect("publish")).payload).toString(), "kept");
  });
});
