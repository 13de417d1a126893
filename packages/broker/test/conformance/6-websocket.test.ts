import assert from "node:assert/strict";
import { once } from "node:events";
import { request } from "node:http";
import { describe, it } from "node:test";
import { setTimeout as delay } from "node:timers/promises";

import { WebSocket } from "ws";

import { concat } from "../support/bytes.ts";
import * as packets from "../support/packets.ts";
import type { Version } from "../support/packets.ts";
import { Broker, unique } from "../support/target.ts";

/** Chapter 6: MQTT over WebSocket. */
const broker = new Broker();
const lacks = broker.lacks("webSocket");

function url(): string {
  const { host, port } = broker.address("webSocket");
  return `ws://${host}:${port}/mqtt`;
}

/** A WebSocket whose bytes are gathered into one stream. */
class WebSocketClient implements Disposable {
  readonly #socket: WebSocket;
  received: Uint8Array = new Uint8Array();

  private constructor(socket: WebSocket) {
    this.#socket = socket;
    socket.on("error", () => {});
    socket.on("message", (data: Buffer, isBinary: boolean) => {
      assert.ok(isBinary, "[MQTT-6.0.0-1] the broker sent a text frame");
      this.received = concat(this.received, data);
    });
  }

  static async open(): Promise<WebSocketClient> {
    const client = new WebSocketClient(new WebSocket(url(), "mqtt"));
    await once(client.#socket, "open");
    return client;
  }

  get protocol(): string {
    return this.#socket.protocol;
  }

  send(frame: Uint8Array | string): void {
    this.#socket.send(frame);
  }

  async receiveUntil(done: (received: Buffer) => boolean): Promise<void> {
    const deadlineMs = performance.now() + 8_000;
    while (!done(Buffer.from(this.received))) {
      assert.ok(performance.now() < deadlineMs, "waited 8 s for the broker's answer");
      await delay(5);
    }
  }

  async expectClosed(): Promise<void> {
    await once(this.#socket, "close", { signal: AbortSignal.timeout(8_000) });
  }

  [Symbol.dispose](): void {
    this.#socket.terminate();
  }
}

async function speaksBinary(version: Version): Promise<void> {
  using client = await WebSocketClient.open();
  assert.equal(client.protocol, "mqtt");
  client.send(packets.connect(version, { clientId: unique("c") }));
  await client.receiveUntil((received) => received.length >= 4);
  assert.deepEqual([client.received[0], client.received[3]], [0x20, 0]);
}

/** And takes nothing that comes after it. */
async function closesOnText(version: Version): Promise<void> {
  const topic = unique("t");
  await using watcher = await broker.connect(version);
  await watcher.subscribe(topic, 0);
  using client = await WebSocketClient.open();
  client.send(packets.connect(version, { clientId: unique("c") }));
  client.send("text");
  client.send(packets.publish(version, { topic, payload: "after the text" }));
  await client.expectClosed();
  await watcher.expectNothing();
}

/** CONNECT in three frames; then SUBSCRIBE, PINGREQ and half a PUBLISH in one. */
async function ignoresFrameBorders(version: Version): Promise<void> {
  using client = await WebSocketClient.open();
  const connect = packets.connect(version, { clientId: unique("c") });
  for (const [from, to] of [
    [0, 1],
    [1, 9],
    [9, connect.length],
  ] as const)
    client.send(connect.subarray(from, to));
  await client.receiveUntil((received) => received[0] === 0x20);
  const topic = unique("t");
  const publish = packets.publish(version, { topic, payload: "whole" });
  const subscribe = packets.subscribe(version, 1, [[topic, 0]]);
  client.send(concat(subscribe, packets.pingreq, publish.subarray(0, 5)));
  client.send(publish.subarray(5));
  await client.receiveUntil(
    (received) => received.includes("whole") && received.includes(Buffer.of(0xd0, 0)),
  );
}

/** The subprotocol the broker selects, or `undefined` when it refuses the handshake. */
async function selectedProtocol(offered: string | undefined): Promise<string | undefined> {
  const { host, port } = broker.address("webSocket");
  const headers = {
    connection: "Upgrade",
    upgrade: "websocket",
    "sec-websocket-version": "13",
    "sec-websocket-key": "AAAAAAAAAAAAAAAAAAAAAA==",
    ...(offered === undefined ? {} : { "sec-websocket-protocol": offered }),
  };
  const asked = request({ host, port, path: "/mqtt", headers });
  const { promise, resolve, reject } = Promise.withResolvers<string | undefined>();
  asked.once("error", reject);
  asked.once("response", (response) => {
    response.resume();
    resolve(undefined);
  });
  asked.once("upgrade", (response, socket) => {
    socket.destroy();
    resolve(response.headers["sec-websocket-protocol"]);
  });
  asked.end();
  return promise;
}

async function selectsMqtt(): Promise<void> {
  assert.equal(await selectedProtocol("mqtt"), "mqtt");
  assert.equal(await selectedProtocol("chat, mqtt"), "mqtt");
}

describe("MQTT 3.1.1", { concurrency: true, skip: lacks }, () => {
  it("[MQTT-6.0.0-1] speaks in binary frames", () => speaksBinary(4));

  it("[MQTT-6.0.0-1] closes the connection on a text frame", () => closesOnText(4));

  it("[MQTT-6.0.0-2] takes packets that do not end where frames end", () => ignoresFrameBorders(4));

  it("[MQTT-6.0.0-4] selects the subprotocol mqtt", selectsMqtt);
});

describe("MQTT 5.0", { concurrency: true, skip: lacks }, () => {
  it("[MQTT-6.0.0-1] speaks in binary frames", () => speaksBinary(5));

  it("[MQTT-6.0.0-1] closes the connection on a text frame", () => closesOnText(5));

  it("[MQTT-6.0.0-2] takes packets that do not end where frames end", () => ignoresFrameBorders(5));

  it("[MQTT-6.0.0-4] selects the subprotocol mqtt", selectsMqtt);

  it(
    "[MQTT-6.0.0-3] refuses a client that does not offer mqtt",
    { skip: broker.unlessOurs("the specification leaves the answer to the broker") },
    async () => {
      assert.equal(await selectedProtocol("chat"), undefined);
      assert.equal(await selectedProtocol(undefined), undefined);
    },
  );
});
