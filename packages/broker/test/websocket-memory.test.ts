import assert from "node:assert/strict";
import { connect, type Socket } from "node:net";
import { after, describe, it } from "node:test";

import { MemorySessionStore } from "@postern/store/memory-session-store";

import { openBroker } from "../src/testing/open-broker.ts";
import * as packets from "./support/packets.ts";

const opened = openBroker({ store: new MemorySessionStore(), limits: { inboundBytesTotalMax: 200_000 } });
after(() => opened.broker.close());

const request =
  "GET /mqtt HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n" +
  "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Protocol: mqtt\r\n\r\n";

/** One binary frame from a client, masked with zeros. @see RFC 6455 §5.2 */
function frame(payload: Uint8Array): Buffer {
  const header = Buffer.alloc(14);
  header.set([0x82, 0x80 | 127]);
  header.writeBigUInt64BE(BigInt(payload.length), 2);
  return Buffer.concat([header, payload]);
}

interface Client {
  readonly socket: Socket;
  /** Everything that came, frame headers too. */
  received(): Buffer;
  until(done: (received: Buffer) => boolean): Promise<void>;
}

async function client(port: number, clientId: string): Promise<Client> {
  const socket = connect({ host: "127.0.0.1", port });
  let bytes: Buffer = Buffer.alloc(0);
  let wake: (() => void) | undefined;
  socket.on("data", (chunk: Buffer) => {
    bytes = Buffer.concat([bytes, chunk]);
    wake?.();
  });
  socket.on("error", () => {});
  socket.on("close", () => wake?.());
  const self = {
    socket,
    received: () => bytes,
    async until(done: (received: Buffer) => boolean) {
      while (!done(bytes)) {
        assert.ok(!socket.destroyed, "closed");
        await new Promise<void>((resolve) => (wake = resolve));
      }
    },
  };
  socket.write(request);
  await self.until((received) => received.includes("\r\n\r\n"));
  socket.write(frame(packets.connect(5, { clientId })));
  await self.until((received) => received.includes(Buffer.of(0x20), received.indexOf("\r\n\r\n")));
  return self;
}

describe("a WebSocket message that is not complete", () => {
  it("counts against inboundBytesTotalMax, and no more once it is complete or its connection gone", async () => {
    const { port } = await opened.listen("ws");
    const payload = "x".repeat(120_000);
    for (let round = 0; round < 3; round += 1) {
      const first = await client(port, "first");
      const second = await client(port, "second");
      const bytes = frame(packets.publish(5, { topic: "big", payload, qos: 1, packetId: 7 }));
      first.socket.write(bytes.subarray(0, 110_000));
      second.socket.write(bytes.subarray(0, 110_000));
      const cut = await Promise.race(
        [first, second].map(async (each) => {
          // DISCONNECT with 0x89, server busy.
          await each.until(
            (received) => received.includes(Buffer.of(0xe0)) && received.includes(Buffer.of(0x89)),
          );
          return each;
        }),
      );
      const left = cut === first ? second : first;
      left.socket.write(bytes.subarray(110_000));
      await left.until(
        (received) =>
          received.includes(Buffer.of(0x40, 3, 0, 7)) || received.includes(Buffer.of(0x40, 4, 0, 7)),
      );
      first.socket.destroy();
      second.socket.destroy();
      while (opened.broker.snapshot().connections > 0) await new Promise((resolve) => setImmediate(resolve));
    }
  });
});
