import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { connect, type Socket } from "node:net";
import { after, before, describe, it } from "node:test";

import { WebSocket } from "ws";

import { configured } from "../support/configurations.ts";
import { scratch, up, type Scratch, type TestServer } from "../support/postern.ts";
import { connectBytes, portOf, sendPlain, untilClosed, type Outcome } from "../support/raw.ts";

const page = "https://cockpit.example.org";
const config = `
listeners:
  - url: ws://127.0.0.1:0
    anonymous: true
    name: web
    origins: [${page}]
  - url: ws://127.0.0.1:0
    anonymous: true
    name: no-pages
metrics: { url: off }
`;

let directory: Scratch;
let server: TestServer;

before(async () => {
  directory = scratch();
  server = await up(configured(directory.path, config));
});

after(async () => {
  await server[Symbol.asyncDispose]();
  directory[Symbol.dispose]();
});

function upgrade(headers: Readonly<Record<string, string>>): string {
  const all = {
    Host: "x",
    Connection: "Upgrade",
    Upgrade: "websocket",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": "AAAAAAAAAAAAAAAAAAAAAA==",
    "Sec-WebSocket-Protocol": "mqtt",
    ...headers,
  };
  const lines = Object.entries(all).map(([name, value]) => `${name}: ${value}`);
  return `GET /mqtt HTTP/1.1\r\n${lines.join("\r\n")}\r\n\r\n`;
}

const port = (index: number) => portOf(server.urls[index]);

function status({ received, error }: Outcome): string {
  assert.notEqual(error, "still open");
  return received.toString("latin1").split("\r\n", 1)[0] ?? "";
}

/** A frame from a client, masked with zeros. @see RFC 6455 §5.2 */
function frame(opcode: number, payload: Uint8Array, fin = true): Buffer {
  const header =
    payload.length < 126
      ? Buffer.of((fin ? 0x80 : 0) | opcode, 0x80 | payload.length)
      : Buffer.of((fin ? 0x80 : 0) | opcode, 0x80 | 126, payload.length >> 8, payload.length & 0xff);
  return Buffer.concat([header, Buffer.alloc(4), payload]);
}

const opcodes = { continuation: 0, text: 1, binary: 2, ping: 9 } as const;

/** An open WebSocket to be driven byte by byte. */
async function opened(index = 1): Promise<Socket> {
  const socket = connect({ host: "127.0.0.1", port: port(index) });
  socket.write(upgrade({}));
  const first = await new Promise<Buffer>((resolve) => socket.once("data", resolve));
  assert.match(first.toString("latin1"), /^HTTP\/1\.1 101 /);
  return socket;
}

/** What MQTT.js and others do: connects, subscribes to nothing, is answered. */
async function connackOf(
  index: number,
  options: { readonly origin?: string; readonly protocol?: string } = {},
) {
  const { origin, protocol = "mqtt" } = options;
  const socket = new WebSocket(server.urls[index] ?? "", [protocol], origin === undefined ? {} : { origin });
  return new Promise<number | undefined>((resolve) => {
    socket.once("open", () => socket.send(connectBytes(`c-${randomBytes(4).toString("hex")}`)));
    socket.once("message", (data: Buffer) => {
      socket.close();
      resolve(data[3]);
    });
    socket.on("error", () => resolve(undefined));
  });
}

describe("attack 12: WebSocket upgrades", () => {
  it("with another subprotocol, or none, are refused", async () => {
    for (const protocol of ["chat", "mqttx", ""]) {
      const outcome = await sendPlain(port(0), upgrade({ "Sec-WebSocket-Protocol": protocol }));
      assert.equal(status(outcome), "HTTP/1.1 400 Bad Request", protocol);
    }
    assert.equal(await connackOf(0), 0);
    assert.equal(await connackOf(0, { protocol: "mqttv3.1" }), 0);
  });

  it("with 64 KB of headers are refused before they are read", async () => {
    const one = await sendPlain(port(0), upgrade({ "X-Padding": "x".repeat(65_536) }));
    assert.match(status(one), /^HTTP\/1\.1 431 /);
    const many = Object.fromEntries(
      Array.from({ length: 4_000 }, (_, index) => [`X-${index}`, "x".repeat(8)]),
    );
    assert.match(status(await sendPlain(port(0), upgrade(many))), /^HTTP\/1\.1 431 /);
  });

  it("whose headers never end are cut when their time is over", async () => {
    const socket = connect({ host: "127.0.0.1", port: port(0) });
    const outcome = untilClosed(socket);
    socket.write("GET / HTTP/1.1\r\nHost: x\r\n");
    const timer = setInterval(() => socket.write("X: y\r\n"), 500);
    const { openMs, error } = await outcome;
    clearInterval(timer);
    assert.notEqual(error, "still open");
    assert.ok(openMs < 8_000, `${openMs} ms`);
  });

  it("from web pages are refused unless their origin is listed; who is no browser is not asked", async () => {
    for (const origin of [
      "https://evil.example",
      "https://cockpit.example.org.evil.example",
      "null",
      "http://cockpit.example.org",
    ]) {
      assert.equal(
        status(await sendPlain(port(0), upgrade({ Origin: origin }))),
        "HTTP/1.1 403 Forbidden",
        origin,
      );
      assert.equal(
        status(await sendPlain(port(1), upgrade({ Origin: origin }))),
        "HTTP/1.1 403 Forbidden",
        origin,
      );
    }
    assert.equal(status(await sendPlain(port(1), upgrade({ Origin: page }))), "HTTP/1.1 403 Forbidden");
    assert.equal(await connackOf(0, { origin: page }), 0);
    assert.equal(await connackOf(1), 0);
    // What clients that are no browsers name, and what a page under a name that was pointed here would.
    assert.equal(await connackOf(1, { origin: `https://127.0.0.1:${port(1)}` }), 0);
    const rebound = `evil.example:${port(1)}`;
    assert.equal(
      status(await sendPlain(port(1), upgrade({ Host: rebound, Origin: `http://${rebound}` }))),
      "HTTP/1.1 403 Forbidden",
    );
  });
});

/** Sends these frames on a new WebSocket and returns how long the server left it open. */
async function flood(...frames: readonly Buffer[]): Promise<number> {
  const socket = await opened();
  const outcome = untilClosed(socket);
  for (const bytes of frames) socket.write(bytes);
  const { error, openMs } = await outcome;
  assert.notEqual(error, "still open");
  return openMs;
}

describe("attack 12: WebSocket frames", () => {
  it("of text are answered with 1003 and the end", async () => {
    const socket = await opened();
    const outcome = untilClosed(socket);
    socket.write(frame(opcodes.text, connectBytes("text")));
    const { received, error } = await outcome;
    assert.notEqual(error, "still open");
    assert.deepEqual([...received.subarray(0, 4)], [0x88, 2, 0x03, 0xeb]);
  });

  it("that break one CONNECT into pieces are put together: that is no attack", async () => {
    const socket = await opened();
    const bytes = connectBytes("pieces");
    socket.write(frame(opcodes.binary, bytes.subarray(0, 1), false));
    for (let index = 1; index < bytes.length - 1; index += 1)
      socket.write(frame(opcodes.continuation, bytes.subarray(index, index + 1), false));
    socket.write(frame(opcodes.continuation, bytes.subarray(-1)));
    const answer = await new Promise<Buffer>((resolve) => socket.once("data", resolve));
    assert.equal(answer[2], 0x20);
    socket.destroy();
  });

  it("that never become a message are cut: too many of them, too many bytes, or no end in time", async () => {
    const empty = frame(opcodes.continuation, Buffer.alloc(0), false);
    const open = frame(opcodes.binary, Buffer.of(0x10), false);
    assert.ok((await flood(open, Buffer.concat(Array.from({ length: 5_000 }, () => empty)))) < 4_000);
    const large = frame(opcodes.continuation, Buffer.alloc(4_000), false);
    assert.ok((await flood(open, large, large)) < 4_000);
    assert.ok((await flood(open)) < 8_000);
  });

  it("of control are bounded: sixteen pings are answered, a flood of them ends the connection", async () => {
    const socket = await opened();
    const code = new Promise<Buffer>((resolve) => socket.once("data", resolve));
    socket.write(frame(opcodes.binary, connectBytes("pinger")));
    assert.equal((await code)[2], 0x20);
    const ping = frame(opcodes.ping, Buffer.from("hello"));
    const pongs = new Promise<Buffer>((resolve) => {
      const chunks: Buffer[] = [];
      socket.on("data", (chunk: Buffer) => {
        chunks.push(chunk);
        if (Buffer.concat(chunks).length >= 16 * 7) resolve(Buffer.concat(chunks));
      });
    });
    socket.write(Buffer.concat(Array.from({ length: 16 }, () => ping)));
    assert.equal((await pongs).subarray(0, 7).toString("latin1"), "\x8a\x05hello");
    const outcome = untilClosed(socket);
    socket.write(Buffer.concat(Array.from({ length: 10_000 }, () => ping)));
    const { received, error } = await outcome;
    assert.notEqual(error, "still open");
    assert.deepEqual([...received.subarray(-4)], [0x88, 2, 0x03, 0xf0]);
  });
});
