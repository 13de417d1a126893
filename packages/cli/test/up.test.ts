import assert from "node:assert/strict";
import { execFileSync, spawnSync } from "node:child_process";
import { once } from "node:events";
import { mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { connect } from "node:net";
import { dirname, join } from "node:path";
import { describe, it } from "node:test";
import { connect as connectTls } from "node:tls";
import { setTimeout as delay } from "node:timers/promises";

import { connectAsync, type IClientOptions, type MqttClient } from "mqtt";

import { statusSchema } from "../src/admin/protocol.ts";
import { configured, plainAnonymous, tlsOnly } from "./support/configurations.ts";
import { firstBundle, freePort, postern, PosternProcess, scratch, up } from "./support/postern.ts";

/** How a device with the first bundle connects, with MQTT.js. */
function device(data: string) {
  const { ca, certificate, key } = firstBundle(data);
  return { ca, cert: certificate, key, protocolVersion: 5, reconnectPeriod: 0 } as const;
}

function nextMessage(client: MqttClient): Promise<string> {
  return new Promise((resolve) => {
    client.once("message", (topic, payload) => resolve(`${topic} ${payload.toString()}`));
  });
}

/** The reason code of the DISCONNECT that the server sends. */
function disconnected(client: MqttClient): Promise<number | undefined> {
  return new Promise((resolve) => {
    client.once("disconnect", ({ reasonCode }) => resolve(reasonCode));
  });
}

async function serverFingerprint(port: number): Promise<string> {
  const socket = connectTls({ port, host: "127.0.0.1", rejectUnauthorized: false });
  await once(socket, "secureConnect");
  const { fingerprint256 } = socket.getPeerCertificate();
  socket.destroy();
  return fingerprint256;
}

function portOf(url: string | undefined): number {
  return Number(new URL(url ?? "").port);
}

describe("postern up", () => {
  it("prints where it listens, the authority's fingerprint and two commands, and carries messages over TLS and WebSocket", async () => {
    using directory = scratch();
    await using server = await up(configured(directory.path, tlsOnly));
    const [tls = "", web = ""] = server.urls;
    const root = join(server.data, "pki", "root.crt");
    const shown = execFileSync("openssl", [
      "x509",
      "-noout",
      "-fingerprint",
      "-sha256",
      "-in",
      root,
    ]).toString();
    const [, printed = ""] = /SHA-256 (\S+)/.exec(server.process.stdout) ?? [];
    assert.ok(shown.includes(printed) && printed.length === 95);
    assert.match(server.process.stdout, /\n {2}\S.* sub --bundle \S+first-device\.json 'hello\/#'\n/);
    assert.match(
      server.process.stdout,
      /\n {2}\S.* pub --bundle \S+first-device\.json hello\/world 'Hello, world'\n/,
    );

    assert.deepEqual(firstBundle(server.data).servers, [{ url: tls }, { url: web }]);
    const subscriber = await connectAsync(tls, device(server.data));
    const publisher = await connectAsync(web, device(server.data));
    await subscriber.subscribeAsync("hello/#", { qos: 1 });
    const received = nextMessage(subscriber);
    await publisher.publishAsync("hello/world", "Hello", { qos: 1 });
    assert.equal(await received, "hello/world Hello");
    await Promise.all([subscriber.endAsync(), publisher.endAsync()]);
  });

  it("prints commands that work as they are printed", async () => {
    using directory = scratch();
    // A space in its path: what is printed must be quoted for a shell.
    const home = join(directory.path, "my data");
    mkdirSync(home);
    await using server = await up(configured(home, tlsOnly));
    const [, subscribe = ""] = /^ {2}(.* sub .*)$/m.exec(server.process.stdout) ?? [];
    const [, publish = ""] = /^ {2}(.* pub .*)$/m.exec(server.process.stdout) ?? [];
    const shell = {
      runtime: "/bin/sh",
      script: false,
      env: { PATH: `${dirname(process.execPath)}:${process.env["PATH"] ?? ""}` },
    };
    await using subscriber = new PosternProcess(["-c", `exec ${subscribe}`], shell);
    const data = join(home, "data");
    for (let subscriptions = 0; subscriptions === 0;) {
      const { stdout } = await postern(["status", "--json", "--data", data]);
      subscriptions = statusSchema.parse(JSON.parse(stdout)).sessions.subscriptions;
    }
    const published = await new PosternProcess(["-c", publish], shell).ended;
    assert.equal(published.code, 0, published.stderr);
    await subscriber.until(/Hello, world$/m);
  });

  it("shows a chain that openssl accepts in strict mode for its host", async () => {
    using directory = scratch();
    await using server = await up(configured(directory.path, tlsOnly));
    const args = [
      "s_client",
      "-connect",
      `127.0.0.1:${portOf(server.urls[0])}`,
      "-CAfile",
      join(server.data, "pki", "root.crt"),
    ];
    const { stdout } = spawnSync(
      "openssl",
      [...args, "-x509_strict", "-verify_return_error", "-verify_ip", "127.0.0.1"],
      {
        input: "",
        encoding: "utf8",
      },
    );
    assert.match(stdout, /Verify return code: 0 \(ok\)/);
  });

  it("refuses a client without a certificate, and one with a foreign certificate (MQTT 5.0 §3.2.2.2)", async () => {
    using directory = scratch();
    using other = scratch();
    await using server = await up(configured(directory.path, tlsOnly));
    await using foreign = await up(configured(other.path, tlsOnly));
    const [url = ""] = server.urls;
    const { ca } = firstBundle(server.data);
    const common: IClientOptions = { ca, protocolVersion: 5, reconnectPeriod: 0 };
    const { cert, key } = device(foreign.data);
    for (const options of [
      common,
      { ...common, username: "admin", password: "admin" },
      { ...common, cert, key },
    ]) {
      await assert.rejects(connectAsync(url, options), /Not authorized|Bad User Name or Password/);
    }
    const audit = readFileSync(join(server.data, "audit", "audit.jsonl"), "utf8");
    assert.match(audit, /"kind":"connect-refused".*no device has its certificate/);
  });

  it("tells MQTT 5 clients that it shuts down (0x8B) and ends with 0 on SIGTERM and on SIGINT", async () => {
    for (const signal of ["SIGTERM", "SIGINT"] as const) {
      using directory = scratch();
      await using server = await up(configured(directory.path, plainAnonymous));
      const client = await connectAsync(server.urls[0] ?? "", { protocolVersion: 5, reconnectPeriod: 0 });
      const told = disconnected(client);
      server.process.signal(signal);
      assert.equal(await told, 0x8b);
      await client.endAsync(true);
      const { code, stderr } = await server.process.ended;
      assert.equal(code, 0, stderr);
      assert.doesNotMatch(stderr, /\n\s+at /);
    }
  });

  it("ends at once with 130 on a second signal, though a client does not let go", async () => {
    using directory = scratch();
    await using server = await up(configured(directory.path, plainAnonymous));
    const socket = connect({ port: portOf(server.urls[0]), allowHalfOpen: true });
    // A connection that the server does not know of yet is refused, and ends at once.
    for (let connections = 0; connections === 0;) {
      const { stdout } = await postern(["status", "--json", "--data", server.data]);
      connections = statusSchema.parse(JSON.parse(stdout)).clients.connections;
    }
    server.process.signal("SIGINT");
    await server.process.until(/stopping/);
    // Two deliveries of one key press count once: this is longer than that.
    await delay(500);
    server.process.signal("SIGINT");
    assert.equal((await server.process.ended).code, 130);
    socket.destroy();
  });

  it("uses the same authority, certificate and bundle at the next start", async () => {
    using directory = scratch();
    const args = configured(
      directory.path,
      tlsOnly.replace("127.0.0.1:0", `127.0.0.1:${await freePort()}`).replace(/.*wss.*\n.*web\n/, ""),
    );
    const files = ["pki/root.crt", "pki/server.pem", "pki/devices.jsonl", "bundles/first-device.json"];
    const seen: string[][] = [];
    for (let start = 0; start < 2; start += 1) {
      await using server = await up(args);
      seen.push(files.map((file) => readFileSync(join(server.data, file), "utf8")));
      assert.equal(server.process.stdout.includes("(new)"), start === 0);
    }
    assert.deepEqual(seen[0], seen[1]);
  });

  it("takes up a new server certificate on SIGHUP without dropping anybody", async () => {
    using directory = scratch();
    await using server = await up(configured(directory.path, tlsOnly));
    const [url = ""] = server.urls;
    const before = await serverFingerprint(portOf(url));
    const client = await connectAsync(url, device(server.data));
    rmSync(join(server.data, "pki", "server.pem"));
    server.process.signal("SIGHUP");
    await server.process.until(/the server has a new certificate/);
    assert.notEqual(await serverFingerprint(portOf(url)), before);
    await client.publishAsync("still/here", "", { qos: 1 });
    await client.endAsync();
  });

  it("goes on with what it has when a reload fails", async () => {
    using directory = scratch();
    await using server = await up(configured(directory.path, tlsOnly));
    const [url = ""] = server.urls;
    const before = await serverFingerprint(portOf(url));
    writeFileSync(join(server.data, "pki", "issuing.crt"), "{");
    server.process.signal("SIGHUP");
    await server.process.until(/could not be read again; the old ones stay/);
    assert.equal(await serverFingerprint(portOf(url)), before);
    await (await connectAsync(url, device(server.data))).endAsync();
  });

  it("says which listeners others can reach, and when metrics had to be left out", async () => {
    using directory = scratch();
    const config = "listeners:\n  - url: mqtts://0.0.0.0:0\n";
    await using first = await up(configured(directory.path, config), {});
    assert.match(
      first.process.stdout,
      /warning: mqtts:\/\/0\.0\.0\.0:0 can be reached from other machines, and nothing hides it: "gate: {}" would/,
    );
    using other = scratch();
    await using second = await up(configured(other.path, tlsOnly.replace("metrics: { url: off }", "")));
    const taken = [first, second].filter(({ process }) =>
      /warning: there are no metrics: .*port 9883 is taken/.test(process.stdout),
    );
    assert.equal(taken.length >= 1, true);
    assert.match(taken[0]?.process.stdout ?? "", /metrics +off/);
  });
});
