import assert from "node:assert/strict";
import { connect as connectTcp } from "node:net";
import { once } from "node:events";
import { connect } from "node:tls";
import { describe, it } from "node:test";

import { decodeConnack } from "@postern/mqtt/connack";
import { encodeConnect } from "@postern/mqtt/connect";
import { MemorySessionStore } from "@postern/store/memory-session-store";

import { connectPacket } from "../src/testing/hand-client.ts";
import { openBroker } from "../src/testing/open-broker.ts";
import { selfSigned } from "./support/self-signed.ts";

const serverUnavailable = 0x88;

describe("a broker that is closing", () => {
  it("refuses who was still shaking hands with a reason that CONNACK has (MQTT 5.0 §3.2.2.2)", async () => {
    const opened = openBroker({ store: new MemorySessionStore(), workers: 1 });
    const pem = selfSigned();
    const listener = await opened.broker.listen({
      name: "secure",
      kind: "mqtts",
      host: "127.0.0.1",
      port: 0,
      anonymous: true,
      confidential: true,
      limits: {},
      tls: () => ({ context: { cert: pem, key: pem }, requestCertificate: false }),
    });
    // The broker waits for one that does not see its end.
    const waitedFor = connectTcp({
      port: (await opened.listen()).port,
      host: "127.0.0.1",
      allowHalfOpen: true,
    });
    const tcp = connectTcp(listener.port, "127.0.0.1");
    await using stack = new AsyncDisposableStack();
    stack.defer(() => void tcp.destroy());
    stack.defer(() => void waitedFor.destroy());
    waitedFor.write(encodeConnect(connectPacket("early", 5)));
    await once(waitedFor, "data");
    while (listener.connectionCount === 0) await new Promise((resolve) => setTimeout(resolve, 1));
    const closed = opened.broker.close();
    const socket = connect({ socket: tcp, rejectUnauthorized: false });
    await once(socket, "secureConnect");
    socket.write(encodeConnect(connectPacket("late", 5)));
    const [bytes]: unknown[] = await once(socket, "data");
    assert.ok(bytes instanceof Uint8Array);
    const decoded = decodeConnack(Buffer.from(bytes), 2, bytes.length, 5);
    assert.ok(decoded.kind === "value", JSON.stringify(decoded));
    assert.equal(decoded.value.reasonCode, serverUnavailable);
    waitedFor.destroy();
    await closed;
  });
});
