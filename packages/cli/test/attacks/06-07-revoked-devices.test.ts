import assert from "node:assert/strict";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { connect, type ConnectionOptions, type TLSSocket } from "node:tls";

import type { CertificateBundle } from "@postern/core/bundle";
import { readCertificateBundle } from "@postern/identity/testing";
import { connectAsync, type IClientOptions, type MqttClient } from "mqtt";

import { configured } from "../support/configurations.ts";
import { command, scratch, up, type TestServer } from "../support/postern.ts";

const config = `
listeners:
  - url: mqtts://127.0.0.1:0
  - url: wss://127.0.0.1:0
    name: web
tls: { sessionResumption: true }
metrics: { url: off }
`;

/** The same with all that is carried by one thread, and with two, of which the kernel chooses one for each connection. */
const threads = [
  { workers: 1, named: "" },
  { workers: 2, named: ", with two threads" },
] as const;
/** Connections that are tried at a time: so many that none of two threads is left without. */
const triesCount = 8;

function withWorkers(workers: number): string {
  return `${config}workers: ${workers}\n`;
}

/** New ticket keys may take half a second, and on a busy machine longer. */
const patienceMs = 10_000;

async function run(...args: string[]): Promise<string> {
  const { code, stdout, stderr } = await command(args);
  assert.equal(code, 0, stderr);
  return stdout;
}

function clientOptions(
  { ca, certificate: cert, key }: CertificateBundle,
  more: IClientOptions,
): IClientOptions {
  return { ca, cert, key, reconnectPeriod: 0, ...more };
}

/** The time until the connection ended and, in MQTT 5, why. */
function endOf(
  client: MqttClient,
): Promise<{ readonly atMs: number; readonly reasonCode: number | undefined }> {
  let reasonCode: number | undefined;
  client.on("packetreceive", (packet) => {
    if (packet.cmd === "disconnect") reasonCode = packet.reasonCode;
  });
  client.on("error", () => {});
  return new Promise((resolve) =>
    client.once("close", () => resolve({ atMs: performance.now(), reasonCode })),
  );
}

/** CONNECT of MQTT 3.1.1, and the return code that answers it. */
async function connackCode(socket: TLSSocket): Promise<number | undefined> {
  socket.write(Uint8Array.of(0x10, 13, 0, 4, 0x4d, 0x51, 0x54, 0x54, 4, 2, 0, 60, 0, 1, 0x61));
  const [answer]: unknown[] = await once(socket, "data");
  assert.ok(answer instanceof Uint8Array && answer[0] === 0x20);
  return answer[3];
}

async function handshake(
  server: TestServer,
  bundle: CertificateBundle,
  more: ConnectionOptions,
): Promise<TLSSocket> {
  const port = Number(new URL(server.urls[0] ?? "").port);
  const { ca, certificate: cert, key } = bundle;
  const socket = connect({ host: "127.0.0.1", port, ca, cert, key, ...more });
  socket.on("error", () => {});
  await once(socket, "secureConnect");
  return socket;
}

for (const { workers, named } of threads) {
  describe(`attack 06: a revoked device goes on, or comes back, on any listener${named}`, () => {
    const directory = scratch();
    const args = configured(directory.path, withWorkers(workers));
    let server: TestServer;
    before(async () => (server = await up(args)));
    after(async () => {
      await server[Symbol.asyncDispose]();
      directory[Symbol.dispose]();
    });

    it("is cut off within a second on TCP and WebSocket, in MQTT 3.1.1 and 5, and refused from then on", async () => {
      await run("device", "add", "lamp", ...args);
      await run("device", "add", "honest", ...args);
      const lamp = readCertificateBundle(join(server.data, "bundles", "lamp.json"));
      const honest = readCertificateBundle(join(server.data, "bundles", "honest.json"));
      const connections = await Promise.all(
        server.urls.flatMap((url) =>
          ([4, 5] as const).map((protocolVersion) =>
            connectAsync(
              url,
              clientOptions(lamp, { protocolVersion, clientId: `${url}-${protocolVersion}` }),
            ),
          ),
        ),
      );
      const other = await connectAsync(server.urls[0] ?? "", clientOptions(honest, { protocolVersion: 5 }));
      const ends = connections.map((client) => endOf(client));

      await run("device", "revoke", "lamp", "--reason", "keyCompromise", ...args);
      const answeredMs = performance.now();
      const results = await Promise.all(ends);
      for (const { atMs, reasonCode } of results) {
        assert.ok(atMs - answeredMs < 1_000, `${atMs - answeredMs} ms after the command had ended`);
        assert.ok(reasonCode === undefined || reasonCode === 0x98, `reason code ${reasonCode}`);
      }
      assert.equal(results.filter(({ reasonCode }) => reasonCode === 0x98).length, 2);
      for (const url of server.urls)
        for (const protocolVersion of [4, 5] as const)
          await assert.rejects(connectAsync(url, clientOptions(lamp, { protocolVersion })), /Not authorized/);
      assert.match(
        readFileSync(join(server.data, "audit", "audit.jsonl"), "utf8"),
        /"kind":"connect-refused"[^\n]*the device was revoked at [^\n]*\(keyCompromise\)/,
      );
      await other.publishAsync("devices/honest/still", "here", { qos: 1 });
      await other.endAsync();
    });

    it("loses one certificate and goes on with another, when only that one is revoked", async () => {
      const path = join(server.data, "bundles", "door.json");
      const [url = ""] = server.urls;
      await run("device", "add", "door", ...args);
      const old = readCertificateBundle(path);
      await run("device", "rotate", "door", ...args);
      const fresh = readCertificateBundle(path);
      const client = await connectAsync(url, clientOptions(old, { protocolVersion: 5 }));
      const end = endOf(client);
      const shown = await run("device", "show", "door", ...args);
      const [, serialNumber = ""] = /^certificate +([0-9A-F]+)/m.exec(shown) ?? [];
      await run("device", "revoke", "door", "--certificate", serialNumber, ...args);
      assert.equal((await end).reasonCode, 0x98);
      await assert.rejects(connectAsync(url, clientOptions(old, { protocolVersion: 5 })), /Not authorized/);
      await (await connectAsync(url, clientOptions(fresh, { protocolVersion: 5 }))).endAsync();
    });
  });

  describe(`attack 07: a revoked certificate with a TLS session from before${named}`, () => {
    it("is refused in TLS 1.2 and 1.3, while an honest device resumes its session", async () => {
      using directory = scratch();
      const args = configured(directory.path, withWorkers(workers));
      await using server = await up(args);
      const resumed = [];
      for (const version of ["TLSv1.2", "TLSv1.3"] as const) {
        const name = `lamp-${version}`;
        await run("device", "add", name, ...args);
        const bundle = readCertificateBundle(join(server.data, "bundles", `${name}.json`));
        const versions = { minVersion: version, maxVersion: version };
        const first = await handshake(server, bundle, versions);
        let session = first.getSession();
        first.on("session", (fresh) => (session = fresh));
        assert.equal(await connackCode(first), 0);
        first.destroy();

        const second = await handshake(server, bundle, { ...versions, session });
        assert.ok(second.isSessionReused(), version);
        second.on("session", (fresh) => (session = fresh));
        assert.equal(await connackCode(second), 0);
        second.destroy();
        resumed.push({ name, bundle, options: { ...versions, session } });
      }
      // Not before: a revocation ends the sessions of all devices, twice within half a second.
      for (const { name, bundle, options } of resumed) {
        await run("device", "revoke", name, ...args);
        // The device is refused from the first handshake on, also where new ticket keys are still to come.
        const deadline = performance.now() + patienceMs;
        for (let isReused = true; isReused;) {
          const tries = Array.from({ length: triesCount }, async () => {
            const third = await handshake(server, bundle, options);
            assert.equal(await connackCode(third), 5, name);
            third.destroy();
            return third.isSessionReused();
          });
          isReused = (await Promise.all(tries)).includes(true);
          assert.ok(performance.now() < deadline, `${name}: the ticket keys are still the same`);
        }
      }
    });
  });
}
