import assert from "node:assert/strict";
import { createSocket } from "node:dgram";
import { connect } from "node:net";
import { describe, it } from "node:test";

import type { KnockSource } from "@postern/knock/verdict";

import { listenTcp, listenUdp } from "./knock-sockets.ts";
import { until } from "./testing/test-gate.ts";

interface Received {
  readonly text: string;
  readonly source: KnockSource;
}

function collector(): {
  readonly received: Received[];
  readonly onKnock: (bytes: Uint8Array, source: KnockSource) => void;
} {
  const received: Received[] = [];
  return {
    received,
    onKnock: (bytes, source) => received.push({ text: Buffer.from(bytes).toString(), source }),
  };
}

describe("knocks by UDP", () => {
  it("come by IPv4 and IPv6 to one port, and are never answered", async () => {
    const { received, onKnock } = collector();
    await using port = await listenUdp({ host: "::", port: 0 }, onKnock);
    let answers = 0;
    for (const [family, host] of [
      ["udp4", "127.0.0.1"],
      ["udp6", "::1"],
    ] as const) {
      const socket = createSocket(family).on("message", () => (answers += 1));
      for (const payload of ["", host]) socket.send(payload, port.port, host);
      await until(() => received.some(({ text, source }) => text === host && source.address === host));
      socket.close();
    }
    assert.equal(answers, 0);
  });

  it("need a port that is free", async () => {
    await using port = await listenUdp({ host: "127.0.0.1", port: 0 }, () => undefined);
    await assert.rejects(
      listenUdp({ host: "127.0.0.1", port: port.port }, () => undefined),
      { code: "GATE_LISTEN" },
    );
  });
});

describe("knocks by TCP", () => {
  it("are what a client sends until it ends, or 32 bytes of it; they are never answered", async () => {
    const { received, onKnock } = collector();
    await using port = await listenTcp({ host: "::", port: 0 }, onKnock);
    const hash = "d27f206bc552a8556a91486a86a7a766";
    for (const parts of [[hash], [hash.slice(0, 10), hash.slice(10)], ["short"], ["x".repeat(100_000)]]) {
      let answers = 0;
      const socket = connect(port.port, "127.0.0.1").on("error", () => undefined);
      socket.on("data", () => (answers += 1));
      const closed = new Promise((resolve) => socket.once("close", resolve));
      for (const part of parts) {
        socket.write(part);
        await new Promise((resolve) => setTimeout(resolve, 20));
      }
      socket.end();
      await closed;
      assert.equal(answers, 0);
    }
    assert.deepEqual(
      received.map(({ text }) => text.slice(0, 32)),
      [hash, hash, "short", "x".repeat(32)],
    );
    assert.ok(received.every(({ text, source }) => text.length <= 64 && source.address === "127.0.0.1"));
  });

  it("are as many at once as there may be", async () => {
    await using port = await listenTcp({ host: "127.0.0.1", port: 0 }, () => undefined);
    let closed = 0;
    const sockets = Array.from({ length: 140 }, () =>
      connect(port.port, "127.0.0.1")
        .on("error", () => undefined)
        .on("close", () => (closed += 1)),
    );
    await until(() => closed === 12);
    for (const socket of sockets) socket.destroy();
  });
});
