import assert from "node:assert/strict";
import { once } from "node:events";
import { connect as connectTcp, type Socket } from "node:net";
import { connect } from "node:tls";
import { describe, it } from "node:test";

import { EstTest, csr } from "./support/est.ts";
import { scratch } from "./support/postern.ts";

/** Writes a little, and then ever a little more. */
function dripping(begin: string, drip: string): (socket: Socket) => void {
  return (socket) => {
    socket.write(begin);
    const timer = setInterval(() => socket.write(drip), 500);
    socket.once("close", () => clearInterval(timer));
  };
}

describe("EST server under clients that never finish", () => {
  it("cuts them off within 20 seconds, and serves others meanwhile", async () => {
    using place = scratch();
    await using est = await EstTest.start(place.path);
    const { hostname: host, port: text } = new URL(est.url);
    const port = Number(text);
    const head =
      "POST /.well-known/est/simpleenroll HTTP/1.1\r\nhost: est\r\ncontent-type: application/pkcs10\r\ncontent-length: 1000\r\n";
    const secured: readonly (readonly [name: string, act: (socket: Socket) => unknown])[] = [
      ["says nothing", () => {}],
      ["half a header", (socket) => socket.write("GET / HTTP/1.1\r\nx: ")],
      ["drips a header", dripping("GET / HTTP/1.1\r\n", "x: y\r\n")],
      ["drips a body", dripping(`${head}\r\n`, "A")],
    ];
    const startMs = performance.now();
    const ends: Promise<readonly [string, number]>[] = [];
    const closed = async (name: string, socket: Socket): Promise<readonly [string, number]> => {
      socket.on("error", () => {}).resume();
      await once(socket, "close");
      return [name, performance.now() - startMs];
    };
    ends.push(closed("no handshake", connectTcp(port, host)));
    for (const [name, act] of secured) {
      const socket = connect({ host, port, ca: est.ca });
      await once(socket, "secureConnect");
      act(socket);
      ends.push(closed(name, socket));
    }
    const { token } = await est.token("lamp");
    assert.equal((await est.simpleEnroll(csr({ device: "lamp" }), token)).status, 200);
    for (const [name, ms] of await Promise.all(ends)) assert.ok(ms < 20_000, `${name}: ${ms} ms`);
  });
});
