import assert from "node:assert/strict";
import { once } from "node:events";
import { rmSync } from "node:fs";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { connect } from "node:tls";

import type { CertificateBundle } from "@postern/core/bundle";
import { readCertificateBundle } from "@postern/identity/testing";
import { connectAsync, type MqttClient } from "mqtt";

import { type Status, statusSchema } from "../src/admin/protocol.ts";
import { configured, tlsOnly } from "./support/configurations.ts";
import { command, firstBundle, preloaded, scratch, type TestServer, up } from "./support/postern.ts";

/** So many that neither of two threads is left without one. */
const manyCount = 16;
const handshakesAtOnce = 16;

const skip = process.platform === "linux" ? false : "this system does not spread connections over threads";

function closed(client: MqttClient): Promise<void> {
  return new Promise((resolve) => client.once("close", () => resolve()));
}

describe("a server on four cores", { skip }, () => {
  const directory = scratch();
  const args = configured(directory.path, tlsOnly);
  let server: TestServer;
  let url: string;
  const clients: MqttClient[] = [];

  before(async () => {
    server = await up(args, { env: preloaded("preload-four-cores.ts", { POSTERN_TEST_WORKERS: "" }) });
    url = server.urls[0] ?? "";
  });
  after(async () => {
    for (const client of clients) client.end(true);
    await server[Symbol.asyncDispose]();
    directory[Symbol.dispose]();
  });

  async function status(): Promise<Status> {
    const { stdout } = await command(["status", "--json", "--data", server.data]);
    return statusSchema.parse(JSON.parse(stdout));
  }

  async function client({ ca, certificate, key }: CertificateBundle, clientId: string): Promise<MqttClient> {
    const options = { ca, cert: certificate, key, protocolVersion: 5, reconnectPeriod: 0, clientId } as const;
    const connected = await connectAsync(url, options);
    clients.push(connected);
    return connected;
  }

  /** The certificate that the server shows. */
  async function handshake(): Promise<string> {
    const socket = connect({ port: Number(new URL(url).port), host: "127.0.0.1", rejectUnauthorized: false });
    socket.on("error", () => {});
    await once(socket, "secureConnect");
    const { fingerprint256 } = socket.getPeerCertificate();
    socket.destroy();
    return fingerprint256;
  }

  it("begins with one thread, and may have three", async () => {
    const { workers, threads } = await status();
    assert.deepEqual({ workers, threads }, { workers: 3, threads: 1 });
  });

  it("starts more while a fleet connects", async () => {
    const enough = new AbortController();
    const fleet = Array.from({ length: handshakesAtOnce }, async () => {
      while (!enough.signal.aborted) await handshake();
    });
    const deadline = performance.now() + 30_000;
    let now = await status();
    while (now.threads === 1 && performance.now() < deadline) now = await status();
    enough.abort();
    await Promise.all(fleet);
    assert.ok(now.threads > 1, "no thread was started");
  });

  it("shows a new certificate everywhere, also where a thread was started later", async () => {
    const old = await handshake();
    rmSync(join(server.data, "pki", "server.pem"));
    server.process.signal("SIGHUP");
    await server.process.until(/the server has a new certificate/);
    const shown = new Set(await Promise.all(Array.from({ length: manyCount }, handshake)));
    assert.equal(shown.size, 1);
    assert.ok(!shown.has(old));
  });

  it("cuts a revoked device off in every thread, and lets nobody else go", async () => {
    const { code, stderr } = await command(["device", "add", "lamp", ...args]);
    assert.equal(code, 0, stderr);
    const lamp = readCertificateBundle(join(server.data, "bundles", "lamp.json"));
    const honest = await client(firstBundle(server.data), "honest");
    const names = Array.from({ length: manyCount }, (_, index) => `lamp-${index}`);
    const lamps = await Promise.all(names.map((name) => client(lamp, name)));
    const ends = lamps.map(closed);
    assert.equal((await command(["device", "revoke", "lamp", ...args])).code, 0);
    await Promise.all(ends);
    await assert.rejects(client(lamp, "again"), /Not authorized/);
    await honest.publishAsync("still/here", "", { qos: 1 });
  });

  it("stops when it is told to, while clients of all threads publish", async () => {
    const publishers = await Promise.all(
      Array.from({ length: manyCount }, (_, index) => client(firstBundle(server.data), `busy-${index}`)),
    );
    const ends = publishers.map(closed);
    const flood = (each: MqttClient): unknown =>
      each.publish("flood", "x", { qos: 1 }, (error) => error ?? flood(each));
    publishers.forEach(flood);
    for (const each of publishers) await each.publishAsync("flood", "first", { qos: 1 });
    server.process.signal("SIGTERM");
    await Promise.all(ends);
    const { code, stderr } = await server.process.ended;
    assert.equal(code, 0, stderr);
  });
});
