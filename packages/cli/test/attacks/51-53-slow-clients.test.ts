import assert from "node:assert/strict";
import { connect, type Socket } from "node:net";
import { after, before, describe, it } from "node:test";

import { encodeConnect } from "@postern/mqtt/connect";

import { configured } from "../support/configurations.ts";
import { linuxOnly, residentMb } from "../support/memory.ts";
import { scratch, up, type Scratch, type TestServer } from "../support/postern.ts";
import { connackCode, connectBytes, connectMqtt, portOf, untilClosed } from "../support/raw.ts";

const config = `
listeners:
  - url: mqtt://127.0.0.1:0
    anonymous: true
    name: small
    limits: { halfOpenPerAddressMax: 200, connectionsPerSecondPerAddressMax: 0, connectTimeoutSeconds: 2 }
  - url: mqtt://127.0.0.1:0
    anonymous: true
    name: short
    limits: { keepAliveSecondsMax: 1, connectTimeoutSeconds: 60 }
  - url: mqtt://127.0.0.1:0
    anonymous: true
    name: roomy
    limits: { connectBytesMax: 2000000, connectTimeoutSeconds: 2 }
limits: { halfOpenMax: 1000, takeOversPerMinuteMax: 0 }
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

const memoryMb = () => residentMb(server.process.child.pid);

/** Connections that only open and then say `bytes`; those that the server has closed are counted. */
class Crowd {
  readonly sockets: Socket[] = [];
  closed = 0;

  constructor(index: number, count: number, addressOf: (number: number) => string, bytes?: Uint8Array) {
    const port = portOf(server.urls[index]);
    for (let number = 0; number < count; number += 1) {
      const socket = connect({ host: "127.0.0.1", port, localAddress: addressOf(number) });
      if (bytes !== undefined) socket.write(bytes);
      socket.on("error", () => {});
      socket.resume();
      socket.once("close", () => (this.closed += 1));
      this.sockets.push(socket);
    }
  }

  get open(): number {
    return this.sockets.length - this.closed;
  }

  async until(done: () => boolean, withinMs: number, what: string): Promise<void> {
    const deadline = performance.now() + withinMs;
    while (!done()) {
      assert.ok(performance.now() < deadline, `${what}: ${this.open} of ${this.sockets.length} are open`);
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  }

  [Symbol.dispose](): void {
    for (const socket of this.sockets) socket.destroy();
  }
}

/** Connects as an honest client does: again when it was cut. Returns how long it took, in ms. */
async function honest(index: number, localAddress: string, withinMs: number): Promise<number> {
  const startMs = performance.now();
  for (;;) {
    const socket = connect({ host: "127.0.0.1", port: portOf(server.urls[index]), localAddress });
    socket.on("error", () => {});
    const code = await connectMqtt(socket, `honest-${Math.random()}`);
    socket.destroy();
    const tookMs = performance.now() - startMs;
    if (code === 0) return tookMs;
    assert.ok(tookMs < withinMs, `not let in within ${withinMs} ms`);
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
}

const sameAddress = () => "127.0.0.66";
const manyAddresses = (number: number) => `127.0.${1 + (number % 60)}.66`;

describe("attack 51: SlowITe", linuxOnly, () => {
  it("with 3,000 held CONNECTs of one address holds 200 of them, for two seconds, and nobody else waits", async () => {
    const beforeMb = memoryMb();
    using crowd = new Crowd(0, 3_000, sameAddress);
    await crowd.until(() => crowd.open <= 200, 10_000, "above the limit of the address");
    const tookMs = await honest(0, "127.0.0.2", 5_000);
    assert.ok(tookMs < 1_500, `an honest client waited ${tookMs} ms`);
    await crowd.until(() => crowd.open === 0, 8_000, "after connectTimeoutSeconds");
    const growthMb = memoryMb() - beforeMb;
    assert.ok(growthMb < 60, `${growthMb} MB more`);
  });

  it("with 6,000 held CONNECTs of 60 addresses holds 1,000 of them in all, and an honest client gets in", async () => {
    const beforeMb = memoryMb();
    using crowd = new Crowd(0, 6_000, manyAddresses);
    await crowd.until(() => crowd.open <= 1_000, 15_000, "above the limit of all");
    const tookMs = await honest(0, "127.0.0.2", 10_000);
    assert.ok(tookMs < 5_000, `an honest client waited ${tookMs} ms`);
    await crowd.until(() => crowd.open === 0, 8_000, "after connectTimeoutSeconds");
    const growthMb = memoryMb() - beforeMb;
    assert.ok(growthMb < 80, `${growthMb} MB more`);
  });

  for (const keepAlive of [0, 65_535]) {
    it(`with a keep alive of ${keepAlive} is told the server's own, and cut when it is silent`, async () => {
      const socket = connect({ host: "127.0.0.1", port: portOf(server.urls[1]) });
      const first = new Promise<Buffer>((resolve) => socket.once("data", resolve));
      socket.write(connectBytes(`slow-${keepAlive}`, 5, keepAlive));
      // Server Keep Alive (0x13) of one second. @see MQTT 5.0 §3.2.2.3.14
      assert.ok((await first).includes(Buffer.of(0x13, 0, 1)));
      const { openMs, error } = await untilClosed(socket);
      assert.notEqual(error, "still open");
      assert.ok(openMs > 1_000 && openMs < 6_000, `${openMs} ms`);
    });
  }

  it("is not what a client does that pings in time", async () => {
    const socket = connect({ host: "127.0.0.1", port: portOf(server.urls[1]) });
    assert.equal(await connectMqtt(socket, "pinging"), 0);
    let answers = 0;
    socket.on("data", () => (answers += 1));
    for (let count = 0; count < 5; count += 1) {
      socket.write(Buffer.of(0xc0, 0));
      await new Promise((resolve) => setTimeout(resolve, 600));
    }
    assert.equal(answers, 5);
    socket.destroy();
  });
});

describe("attack 52: packets that never come", linuxOnly, () => {
  it("is bounded: 900 CONNECTs that declare 256 MB are cut long before their time is over, and no memory is set aside for them", async () => {
    const beforeMb = memoryMb();
    using crowd = new Crowd(1, 900, manyAddresses, Buffer.of(0x10, 0xff, 0xff, 0xff, 0x7f));
    await crowd.until(() => crowd.open === 0, 1_900, "a CONNECT of 256 MB");
    assert.ok(memoryMb() - beforeMb < 40, `${memoryMb() - beforeMb} MB more`);
  });

  it("is bounded: half a header, or a CONNECT byte by byte, has two seconds", async () => {
    using halves = new Crowd(0, 500, manyAddresses, Buffer.of(0x10));
    const socket = connect({ host: "127.0.0.1", port: portOf(server.urls[0]), localAddress: "127.0.0.3" });
    const outcome = untilClosed(socket);
    const bytes = connectBytes("byte by byte");
    let sent = 0;
    const timer = setInterval(() => {
      socket.write(bytes.subarray(sent, sent + 1));
      sent += 1;
    }, 250);
    const { openMs, error, received } = await outcome;
    clearInterval(timer);
    assert.notEqual(error, "still open");
    assert.ok(openMs < 5_000 && received.length === 0, `${openMs} ms`);
    await halves.until(() => halves.open === 0, 5_000, "half a header");
  });

  it("is bounded after CONNECT: 500 PUBLISH packets that declare 1 MB and bring 2 KB hold their bytes and no more", async () => {
    const beforeMb = memoryMb();
    const port = portOf(server.urls[0]);
    const sockets = Array.from({ length: 500 }, (_, number) => {
      const socket = connect({ host: "127.0.0.1", port, localAddress: manyAddresses(number) });
      socket.on("error", () => {});
      return socket;
    });
    const codes = await Promise.all(sockets.map((socket, number) => connectMqtt(socket, `big-${number}`)));
    assert.ok(codes.every((code) => code === 0));
    const start = Buffer.concat([Buffer.of(0x30, 0xf0, 0xff, 0x3f, 0, 1, 0x61), Buffer.alloc(2_000)]);
    for (const socket of sockets) socket.write(start);
    await honest(0, "127.0.0.2", 5_000);
    await new Promise((resolve) => setTimeout(resolve, 300));
    const growthMb = memoryMb() - beforeMb;
    assert.ok(growthMb < 60, `${growthMb} MB more`);
    for (const socket of sockets) socket.destroy();
  });

  it("is not what a client on a slow line does: CONNECT in three pieces within its time", async () => {
    const socket = connect({ host: "127.0.0.1", port: portOf(server.urls[0]), localAddress: "127.0.0.4" });
    const code = connackCode(socket);
    const bytes = connectBytes("slow line");
    for (const [from, to] of [
      [0, 3],
      [3, 10],
      [10, bytes.length],
    ]) {
      socket.write(bytes.subarray(from, to));
      await new Promise((resolve) => setTimeout(resolve, 300));
    }
    assert.equal(await code, 0);
    socket.destroy();
  });
});

function withProperties(count: number): Buffer {
  return encodeConnect({
    protocolVersion: 5,
    cleanStart: true,
    keepAliveSeconds: 60,
    clientId: "properties",
    username: undefined,
    password: undefined,
    will: undefined,
    properties: { userProperties: Array.from({ length: count }, (_, index) => [`n${index}`, "v"] as const) },
  });
}

describe("attack 53: CONNECT with 10,000 user properties", linuxOnly, () => {
  it("is cut before it is read; where a listener allows CONNECTs of that size it is refused, and neither costs time", async () => {
    const many = withProperties(10_000);
    const startMs = performance.now();
    for (const [index, expected] of [
      [0, undefined],
      [2, 0x97],
    ] as const) {
      for (let count = 0; count < 20; count += 1) {
        const socket = connect({
          host: "127.0.0.1",
          port: portOf(server.urls[index]),
          localAddress: "127.0.0.5",
        });
        socket.on("error", () => {});
        const code = connackCode(socket);
        socket.write(many);
        assert.equal(await code, expected);
        socket.destroy();
      }
    }
    assert.ok(performance.now() - startMs < 6_000, `${performance.now() - startMs} ms for 40`);
  });

  it("is let in with ten", async () => {
    const socket = connect({ host: "127.0.0.1", port: portOf(server.urls[0]), localAddress: "127.0.0.5" });
    const code = connackCode(socket);
    socket.write(withProperties(10));
    assert.equal(await code, 0);
    socket.destroy();
  });
});
