import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { connect } from "node:net";
import { after, before, describe, it } from "node:test";
import { connect as connectTls, createSecureContext, type SecureContext, type TLSSocket } from "node:tls";

import { audited } from "../support/audit.ts";
import { configured } from "../support/configurations.ts";
import { linuxOnly, residentMb } from "../support/memory.ts";
import { skipWithout } from "../support/programs.ts";
import { firstBundle, scratch, up, type Scratch, type TestServer } from "../support/postern.ts";
import { connectMqtt, portOf, secured } from "../support/raw.ts";

const config = `
listeners:
  - url: mqtts://127.0.0.1:0
    name: rated
    limits: { connectionsPerSecondPerAddressMax: 20, halfOpenPerAddressMax: 100 }
  - url: mqtts://127.0.0.1:0
    name: fleet
  - url: mqtt://127.0.0.1:0
    name: plain
    anonymous: true
limits: { halfOpenMax: 500, sessionsPerIdentityMax: 10000 }
metrics: { url: off }
`;

let directory: Scratch;
let server: TestServer;
let credentials: SecureContext;

before(async () => {
  directory = scratch();
  server = await up(configured(directory.path, config));
  const { ca, certificate, key } = firstBundle(server.data);
  credentials = createSecureContext({ ca, cert: certificate, key });
});

after(async () => {
  await server[Symbol.asyncDispose]();
  directory[Symbol.dispose]();
});

const port = (index: number) => portOf(server.urls[index]);

/** One handshake from `localAddress`; whether it came to its end. The connection is closed at once. */
function handshake(index: number, localAddress: string): Promise<boolean> {
  return new Promise((resolve) => {
    const below = connect({ host: "127.0.0.1", port: port(index), localAddress });
    below.on("error", () => {});
    const socket = connectTls({ socket: below, host: "127.0.0.1", secureContext: credentials });
    socket.once("secureConnect", () => {
      resolve(true);
      socket.destroy();
    });
    socket.on("error", () => {});
    socket.once("close", () => resolve(false));
  });
}

async function answersPing(socket: TLSSocket): Promise<boolean> {
  socket.write(Buffer.of(0xc0, 0));
  const [bytes]: unknown[] = await once(socket, "data", { signal: AbortSignal.timeout(10_000) });
  return bytes instanceof Uint8Array && bytes[0] === 0xd0;
}

/** The longest that a client which is already there waits for the answer to a ping, in ms, until `stop` is aborted. */
async function longestPing(socket: TLSSocket, stop: AbortSignal): Promise<number> {
  let longest = 0;
  while (!stop.aborted) {
    const startMs = performance.now();
    assert.ok(await answersPing(socket), "the connection is gone");
    longest = Math.max(longest, performance.now() - startMs);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  return longest;
}

describe("attack 58: a flood of TLS handshakes", linuxOnly, () => {
  it("gets its 20 a second and delays itself only: clients that are there, and new ones from elsewhere, are served", async () => {
    const there = await secured(server.data, port(0));
    assert.equal(await connectMqtt(there, "there"), 0);
    const stop = new AbortController();
    const pings = longestPing(there, stop.signal);
    let done = 0;
    const startMs = performance.now();
    const flood = Array.from({ length: 60 }, async () => {
      while (!stop.signal.aborted) if (await handshake(0, "127.0.0.66")) done += 1;
    });
    await new Promise((resolve) => setTimeout(resolve, 1_000));
    const newcomerMs = performance.now();
    assert.ok(await handshake(0, "127.0.0.3"));
    const waitedMs = performance.now() - newcomerMs;
    await new Promise((resolve) => setTimeout(resolve, 1_500));
    const seconds = (performance.now() - startMs) / 1_000;
    stop.abort();
    await Promise.all(flood);
    assert.ok(done <= 20 * (seconds + 1) + 65, `${done} handshakes in ${seconds.toFixed(1)} s`);
    assert.ok(waitedMs < 1_500, `a newcomer waited ${waitedMs} ms`);
    assert.ok((await pings) < 1_000, `a ping took ${await pings} ms`);
    there.destroy();
  });
});

/** openssl s_client, which asks for new keys of both sides for each K that comes in a write of its own. */
function client() {
  const child = spawn("openssl", ["s_client", "-connect", `127.0.0.1:${port(1)}`, "-tls1_3"], {
    stdio: ["pipe", "ignore", "ignore"],
  });
  child.stdin.on("error", () => {});
  return child;
}

describe("attack 58: a flood of KeyUpdates", { skip: skipWithout("openssl") }, () => {
  it("is cut after 64 KB, and written down", async () => {
    const child = client();
    const startMs = performance.now();
    while (child.exitCode === null && performance.now() - startMs < 20_000) {
      child.stdin.write("K\n");
      await new Promise((resolve) => setImmediate(resolve));
    }
    const { exitCode } = child;
    child.kill("SIGKILL");
    assert.notEqual(exitCode, null, "the flood was not cut");
    await audited(
      server.data,
      ({ kind, detail }) => kind === "limit-reached" && /TLS records/.test(String(detail)),
    );
  });

  it("is not what a client does that changes its keys now and then", async () => {
    const child = client();
    const exit = once(child, "exit");
    for (let count = 0; count < 20; count += 1) {
      child.stdin.write("K\n");
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
    const left = await Promise.race([exit, new Promise((resolve) => setTimeout(() => resolve("open"), 300))]);
    assert.equal(left, "open");
    child.kill("SIGKILL");
    await exit;
  });
});

describe("attack 60: a whole fleet that reconnects at once", linuxOnly, () => {
  it("gets in over TLS, 300 at a time, while those that are there are served", async () => {
    const beforeMb = residentMb(server.process.child.pid);
    const there = await secured(server.data, port(1));
    assert.equal(await connectMqtt(there, "already-there"), 0);
    const stop = new AbortController();
    const pings = longestPing(there, stop.signal);
    const fleet = await Promise.all(
      Array.from({ length: 300 }, async (_, number) => {
        for (;;) {
          const socket = connectTls({ host: "127.0.0.1", port: port(1), secureContext: credentials });
          socket.on("error", () => {});
          const code = await connectMqtt(socket, `fleet-${number}`);
          if (code === 0) return socket;
          socket.destroy();
          await new Promise((resolve) => setTimeout(resolve, 200 + Math.random() * 300));
        }
      }),
    );
    stop.abort();
    assert.equal(fleet.length, 300);
    assert.ok((await pings) < 3_000, `a ping took ${await pings} ms`);
    const growthMb = residentMb(server.process.child.pid) - beforeMb;
    assert.ok(growthMb < 120, `${growthMb} MB more`);
    for (const socket of [there, ...fleet]) socket.destroy();
  });

  it("gets in, 3,000 at a time with 500 places, by coming again", async () => {
    const beforeMb = residentMb(server.process.child.pid);
    let refused = 0;
    const fleet = await Promise.all(
      Array.from({ length: 3_000 }, async (_, number) => {
        for (let waitMs = 100; ; waitMs = Math.min(waitMs * 2, 2_000)) {
          const socket = connect({ host: "127.0.0.1", port: port(2) });
          socket.on("error", () => {});
          const code = await connectMqtt(socket, `meter-${number}`);
          if (code === 0) return socket;
          refused += 1;
          socket.destroy();
          await new Promise((resolve) => setTimeout(resolve, waitMs * (0.5 + Math.random())));
        }
      }),
    );
    assert.equal(fleet.length, 3_000);
    assert.ok(refused > 0, "the limit was never reached");
    const growthMb = residentMb(server.process.child.pid) - beforeMb;
    assert.ok(growthMb < 120, `${growthMb} MB more`);
    for (const socket of fleet) socket.destroy();
  });
});
