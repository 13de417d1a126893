import assert from "node:assert/strict";
import { once } from "node:events";
import { existsSync, rmSync } from "node:fs";
import { join } from "node:path";
import { describe, it } from "node:test";
import { setTimeout as delay } from "node:timers/promises";
import { connect, type ConnectionOptions, type TLSSocket } from "node:tls";

import { connectAsync, type IClientOptions } from "mqtt";

import { configured, plainAnonymous } from "./support/configurations.ts";
import {
  firstBundle,
  command,
  PosternProcess,
  bin,
  scratch,
  up,
  type TestServer,
} from "./support/postern.ts";

const v5: IClientOptions = { protocolVersion: 5, reconnectPeriod: 0 };

function device(server: TestServer): IClientOptions {
  const { ca, certificate, key } = firstBundle(server.data);
  return { ...v5, ca, cert: certificate, key };
}

/** The reason code that the server answers a subscription with. */
async function subscribed(url: string | undefined, options: IClientOptions, filter: string): Promise<number> {
  const client = await connectAsync(url ?? "", options);
  const granted = await client.subscribeAsync(filter, { qos: 0 }).then(
    ([grant]) => grant?.qos ?? -1,
    () => 0x87,
  );
  await client.endAsync();
  return granted;
}

async function handshake(server: TestServer, options: ConnectionOptions): Promise<TLSSocket> {
  const { ca, certificate, key } = firstBundle(server.data);
  const port = Number(new URL(server.urls[0] ?? "").port);
  const socket = connect({ host: "127.0.0.1", port, ca, cert: certificate, key, ...options });
  await once(socket, "secureConnect");
  return socket;
}

/** CONNECT of MQTT 3.1.1 with a clean session, and the return code that answers it. @see MQTT 3.1.1 §3.1, §3.2 */
async function connackCode(socket: TLSSocket): Promise<number | undefined> {
  socket.write(Uint8Array.of(0x10, 13, 0, 4, 0x4d, 0x51, 0x54, 0x54, 4, 2, 0, 60, 0, 1, 0x61));
  const [answer]: unknown[] = await once(socket, "data");
  assert.ok(answer instanceof Uint8Array && answer[0] === 0x20);
  return answer[3];
}

function onlyTls(version: string): string {
  return `listeners: [{ url: mqtts://127.0.0.1:0 }]\ntls: { minVersion: ${version}, maxVersion: ${version} }\nmetrics: { url: off }\n`;
}

describe("listeners", () => {
  it("keep $SYS from everybody but those whose role reads it", async () => {
    using directory = scratch();
    const config = `
listeners:
  - url: mqtts://127.0.0.1:0
    name: devices
  - url: mqtt://127.0.0.1:0
    name: open
    anonymous: true
metrics: { url: off }
`;
    await using server = await up(configured(directory.path, config));
    const [devices, open] = server.urls;
    assert.equal(await subscribed(devices, device(server), "$SYS/broker/uptime"), 0);
    assert.equal(await subscribed(devices, device(server), "$other/#"), 0x87);
    assert.equal(await subscribed(open, v5, "$SYS/#"), 0x87);
    assert.equal(await subscribed(open, v5, "#"), 0);
  });

  it("speak only the TLS versions that the configuration allows", async () => {
    using directory = scratch();
    for (const [allowed, refused] of [
      ["1.2", "1.3"],
      ["1.3", "1.2"],
    ] as const) {
      await using server = await up(configured(directory.path, onlyTls(allowed)));
      const socket = await handshake(server, {});
      assert.equal(socket.getProtocol(), `TLSv${allowed}`);
      socket.destroy();
      await assert.rejects(handshake(server, { minVersion: `TLSv${refused}`, maxVersion: `TLSv${refused}` }));
      server.process.signal("SIGTERM");
      await server.process.ended;
    }
  });

  it("let nobody resume a TLS session unless the configuration says so, and check the certificate's bytes again if it does", async () => {
    for (const resumption of [false, true]) {
      using directory = scratch();
      const config = `listeners: [{ url: mqtts://127.0.0.1:0 }]\ntls: { sessionResumption: ${resumption} }\nmetrics: { url: off }\n`;
      await using server = await up(configured(directory.path, config));
      for (const version of ["TLSv1.2", "TLSv1.3"] as const) {
        const versions = { minVersion: version, maxVersion: version };
        const first = await handshake(server, versions);
        let session = first.getSession();
        first.on("session", (fresh) => (session = fresh));
        assert.equal(await connackCode(first), 0);
        first.destroy();
        assert.ok(session !== undefined);

        const second = await handshake(server, { ...versions, session });
        assert.equal(second.isSessionReused(), resumption, version);
        second.on("session", (fresh) => (session = fresh));
        assert.equal(await connackCode(second), 0, version);
        second.destroy();
      }
    }
  });
});

describe("the process of a server", () => {
  it("goes on when nobody reads its log any more", async () => {
    using directory = scratch();
    await using server = await up(configured(directory.path, plainAnonymous));
    server.process.child.stderr?.destroy();
    server.process.child.stdout?.destroy();
    const certificate = join(server.data, "pki", "server.pem");
    for (let count = 0; count < 3; count += 1) {
      rmSync(certificate);
      server.process.signal("SIGHUP");
      while (!existsSync(certificate)) await delay(10);
      const changed = await command(["log", "level", "debug", "--data", server.data]);
      assert.equal(changed.code, 0, changed.stderr);
    }
    assert.ok(server.process.running);
    server.process.signal("SIGTERM");
    assert.equal((await server.process.ended).code, 0);
  });

  it("warns when it may open few files", async () => {
    using directory = scratch();
    const words = [process.execPath, bin, "up", ...configured(directory.path, plainAnonymous)];
    const command = `ulimit -n 400; exec ${words.map((word) => `'${word}'`).join(" ")}`;
    await using limited = new PosternProcess(["-c", command], { runtime: "/bin/sh", script: false });
    await limited.until(
      /warning: this process may open only 400 files at once, enough for about 200 clients: raise it with ulimit -n/,
    );
  });
});
