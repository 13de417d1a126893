import assert from "node:assert/strict";
import { connect } from "node:net";
import { once } from "node:events";
import { describe, it } from "node:test";

import { MemorySessionStore } from "@postern/store/memory-session-store";

import { openBroker } from "../src/testing/open-broker.ts";
import { nextTurn } from "./harness/stage.ts";

const requests = {
  "an upgrade without the subprotocol mqtt":
    "GET /mqtt HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n" +
    "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n",
  "an upgrade without a key":
    "GET /mqtt HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n" +
    "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: mqtt\r\n\r\n",
  "a request that asks for no upgrade": "GET / HTTP/1.1\r\nHost: x\r\n\r\n",
  "what is no HTTP": "\x10\x0c\0\x04MQTT\r\n\r\n",
};

describe("a WebSocket listener, when the refused side keeps its half of the connection open", () => {
  for (const [name, bytes] of Object.entries(requests)) {
    it(`lets the connection go: ${name}`, async () => {
      const opened = openBroker({ store: new MemorySessionStore() });
      const { broker } = opened;
      const { port } = await opened.listen("ws");
      const socket = connect({ host: "127.0.0.1", port, allowHalfOpen: true });
      socket.write(bytes);
      const answer = once(socket, "data");
      await once(socket.resume(), "end");
      const [first] = await answer;
      assert.match(String(first), /^HTTP\/1\.1 4\d\d /);
      const deadline = performance.now() + 3_000;
      while (broker.snapshot().connections > 0 && performance.now() < deadline) await nextTurn();
      assert.equal(broker.snapshot().connections, 0);
      socket.destroy();
      await broker.close();
    });
  }
});
