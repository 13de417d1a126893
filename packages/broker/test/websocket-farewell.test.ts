import assert from "node:assert/strict";
import { once } from "node:events";
import { connect } from "node:net";
import { after, describe, it } from "node:test";

import { MemorySessionStore } from "@postern/store/memory-session-store";

import { openBroker } from "../src/testing/open-broker.ts";
import * as packets from "./support/packets.ts";
import { RawClient } from "./support/raw-client.ts";

/** The second piece has to wait for one second. */
const opened = openBroker({ store: new MemorySessionStore(), limits: { bytesPerSecondPerClientMax: 2_000 } });
after(() => opened.broker.close());

const upgrade =
  "GET /mqtt HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n" +
  "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Protocol: mqtt\r\n\r\n";

const binary = 2;
const close = 8;

/** One frame from a client, masked with zeros. @see RFC 6455 §5.2 */
function frame(opcode: number, payload: Uint8Array): Buffer {
  const header = Buffer.alloc(8);
  header.set([0x80 | opcode, 0x80 | 126]);
  header.writeUInt16BE(payload.length, 2);
  return Buffer.concat([opcode === close ? Buffer.of(0x88, 0x82, 0, 0, 0, 0) : header, payload]);
}

describe("a WebSocket client that says everything at once, and goes", () => {
  it("is heard to the end when it is slowed down: its messages arrive, and its will is not published", async () => {
    const { port } = await opened.listen();
    const webSocket = await opened.listen("ws");
    await using watcher = await RawClient.open({ host: "127.0.0.1", port }, 5);
    await watcher.connect({ clientId: "watcher" });
    await watcher.subscribe("farewell/#");

    const socket = connect({ host: "127.0.0.1", port: webSocket.port });
    socket.write(upgrade);
    const [answer] = await once(socket, "data");
    assert.match(String(answer), /^HTTP\/1\.1 101 /);
    const will = { topic: "farewell/will", payload: "lost" };
    const sent = [
      packets.connect(5, { clientId: "leaver", will }),
      packets.publish(5, { topic: "farewell/1", payload: "x".repeat(4_000) }),
      packets.publish(5, { topic: "farewell/2", payload: "y" }),
      packets.disconnect(),
    ];
    socket.write(
      Buffer.concat([...sent.map((packet) => frame(binary, packet)), frame(close, Buffer.of(0x03, 0xe8))]),
    );
    await once(socket.resume(), "close");

    assert.deepEqual(
      [await watcher.expect("publish"), await watcher.expect("publish")].map(({ topic }) => topic),
      ["farewell/1", "farewell/2"],
    );
    while (opened.broker.snapshot().connections > 1) await new Promise((done) => setTimeout(done, 10));
    await watcher.expectNothing();
  });
});
