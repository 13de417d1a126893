import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";

import { run as main } from "../src/main.ts";
import { fakeContext } from "../src/testing.ts";
import { audited, auditText } from "./support/audit.ts";
import { configured } from "./support/configurations.ts";
import { dataBeside, prepareInstallation } from "./support/installation.ts";
import {
  firstBundle,
  PosternProcess,
  scratch,
  up,
  type Scratch,
  type TestServer,
} from "./support/postern.ts";
import { run } from "./support/run.ts";
import { skipWithout } from "./support/programs.ts";

const config = `
listeners:
  - url: mqtts://127.0.0.1:0
    psk: true
    name: keys
  - url: wss://127.0.0.1:0
    psk: true
    name: web-keys
  - url: mqtts://127.0.0.1:0
    name: certificates
metrics: { url: off }
`;

const key = Buffer.from("00112233445566778899aabbccddeeff", "hex");
const otherKey = Buffer.alloc(16, 7);

let directory: Scratch;
let server: TestServer;

const urlOf = (index: number) => server.urls[index] ?? "";
const portOf = (index: number) => new URL(urlOf(index)).port;

function writeBundle(name: string, bundle: object): string {
  const file = join(directory.path, `${name}.json`);
  const { ca } = firstBundle(server.data);
  writeFileSync(file, JSON.stringify({ postern: 1, ca, ...bundle }), { mode: 0o600 });
  return file;
}

/** Runs a command line in this process. */
async function say(args: readonly string[]): Promise<{ readonly code: number; readonly stderr: string }> {
  const context = fakeContext({ cwd: directory.path });
  const code = await main(args, context);
  return { code, stderr: context.err() };
}

function pskFile(name: string, line: string): string {
  const file = join(directory.path, name);
  writeFileSync(file, `${line}\n`, { mode: 0o600 });
  return file;
}

function psk(identity: string, bytes: Uint8Array) {
  return { identity, key: Buffer.from(bytes).toString("base64") };
}

before(async () => {
  directory = scratch();
  await prepareInstallation(dataBeside(directory.path), [
    { name: "meter-1", psk: psk("meter-1", key) },
    {
      name: "meter-2",
      psk: psk("meter-2", otherKey),
      revoked: { at: "2026-01-01T00:00:00Z", reason: "keyCompromise" },
    },
    { name: "short", psk: psk("short", key.subarray(0, 15)) },
  ]);
  server = await up(configured(directory.path, config));
});

after(async () => {
  await server[Symbol.asyncDispose]();
  directory[Symbol.dispose]();
});

describe("a listener for pre-shared keys", () => {
  for (const version of ["-tls1_2", "-tls1_3"]) {
    it(
      `lets openssl s_client ${version} in with the key, and with nothing else`,
      { skip: skipWithout("openssl") },
      async () => {
        const said = (identity: string, hex: string, ...more: readonly string[]) =>
          run("openssl", [
            "s_client",
            "-connect",
            `127.0.0.1:${portOf(0)}`,
            version,
            "-psk_identity",
            identity,
            "-psk",
            hex,
            ...more,
          ]);
        const good = await said("meter-1", key.toString("hex"));
        assert.match(good.text, /Cipher is (ECDHE-PSK-CHACHA20-POLY1305|TLS_AES_128_GCM_SHA256)/);
        assert.match(good.text, /no peer certificate available/);
        for (const [identity, hex] of [
          ["meter-1", otherKey.toString("hex")],
          ["nobody", key.toString("hex")],
          ["meter-2", otherKey.toString("hex")],
          ["short", key.subarray(0, 15).toString("hex")],
        ] as const) {
          const bad = await said(identity, hex);
          assert.equal(bad.code, 1, identity);
          // The same for all: a wrong key, an unknown identity, a revoked device, a key that is too short.
          assert.match(
            bad.text,
            version === "-tls1_2" ? /alert bad record mac/ : /alert decrypt error/,
            identity,
          );
        }
        const { text } = await run("openssl", ["s_client", "-connect", `127.0.0.1:${portOf(0)}`, version]);
        assert.match(text, /alert handshake failure/);
      },
    );
  }

  it("agrees to no key exchange that a leaked key would open", { skip: skipWithout("openssl") }, async () => {
    for (const suite of [
      "PSK-AES128-GCM-SHA256",
      "DHE-PSK-AES128-GCM-SHA256",
      "ECDHE-PSK-AES128-CBC-SHA256",
    ]) {
      const { code, text } = await run("openssl", [
        "s_client",
        "-connect",
        `127.0.0.1:${portOf(0)}`,
        "-tls1_2",
        "-cipher",
        suite,
        "-psk_identity",
        "meter-1",
        "-psk",
        key.toString("hex"),
      ]);
      assert.equal(code, 1, suite);
      assert.match(text, /alert handshake failure/, suite);
    }
  });

  it("takes mosquitto_pub --psk, and names the device", { skip: skipWithout("mosquitto_pub") }, async () => {
    await using sub = new PosternProcess([
      "sub",
      "--bundle",
      writeBundle("sub", {
        device: "meter-1",
        psk: pskOfMeter,
        servers: [{ url: urlOf(0) }],
      }),
      "--count",
      "1",
      "--verbose",
      "keys/#",
    ]);
    await sub.until(/subscribed/i);
    const args = [
      "-h",
      "127.0.0.1",
      "-p",
      portOf(0),
      "--psk",
      key.toString("hex"),
      "--psk-identity",
      "meter-1",
    ];
    const published = await run("mosquitto_pub", [
      ...args,
      "-i",
      "mosq",
      "-t",
      "keys/a",
      "-m",
      "21.5",
      "-q",
      "1",
    ]);
    assert.equal(published.code, 0, published.text);
    const { stdout } = await sub.ended;
    assert.match(stdout, /21\.5/);
    const connected = await audited(
      server.data,
      ({ kind, clientId }) => kind === "connected" && clientId === "mosq",
    );
    assert.equal(connected["identity"], "meter-1");
  });

  it(
    "records a wrong key with the identity that was claimed, and never the key",
    { skip: skipWithout("mosquitto_pub") },
    async () => {
      const args = [
        "-h",
        "127.0.0.1",
        "-p",
        portOf(0),
        "--psk",
        "ab".repeat(16),
        "--psk-identity",
        "meter-9",
      ];
      const refused = await run("mosquitto_pub", [...args, "-t", "a", "-m", "b"]);
      assert.notEqual(refused.code, 0);
      const event = await audited(server.data, ({ identity }) => identity === "meter-9");
      assert.equal(event["kind"], "connect-refused");
      assert.doesNotMatch(auditText(server.data) + server.process.stderr, /abababab|00112233/i);
    },
  );
});

const pskOfMeter = { identity: "meter-1", key: key.toString("base64") };

describe("postern pub with a pre-shared key", () => {
  for (const index of [0, 1]) {
    it(`publishes with a bundle over ${index === 0 ? "mqtts" : "wss"}`, async () => {
      const bundle = writeBundle(`ok-${index}`, {
        device: "meter-1",
        psk: pskOfMeter,
        servers: [{ url: urlOf(index) }],
      });
      const { code, stderr } = await say(["pub", "--bundle", bundle, "--qos", "1", "keys/b", "x"]);
      assert.equal(code, 0, stderr);
    });
  }

  it("publishes with --psk-file", async () => {
    const file = pskFile("meter.psk", `meter-1:${key.toString("hex")}`);
    const { code, stderr } = await say([
      "pub",
      "--url",
      urlOf(0),
      "--psk-file",
      file,
      "--qos",
      "1",
      "keys/b",
      "x",
    ]);
    assert.equal(code, 0, stderr);
  });

  it("says what is wrong: the key, the listener, the file", async () => {
    const wrong = pskFile("wrong.psk", `meter-1:${otherKey.toString("hex")}`);
    const refused = async (url: string, file: string) => {
      const { code, stderr } = await say(["pub", "--url", url, "--psk-file", file, "keys/b", "x"]);
      return `${code} ${stderr}`;
    };
    assert.match(
      await refused(urlOf(0), wrong),
      /^3 postern: cannot connect to mqtts:\S+: the server does not accept our pre-shared key: it does not know "meter-1", or the key is another now\n$/,
    );
    const good = pskFile("good.psk", `meter-1:${key.toString("hex")}`);
    assert.match(
      await refused(urlOf(2), good),
      /^3 postern: [^\n]*what answers there does not take pre-shared keys: it is another listener, or somebody is in between\n$/,
    );
    assert.match(
      await refused(urlOf(0), pskFile("a.psk", "meter-1")),
      /^2 .*its first line must be identity:key, the key in hex/,
    );
    assert.match(
      await refused(urlOf(0), pskFile("b.psk", "meter-1:0011")),
      /^2 .*has 16 bits; 128 are the least/,
    );
    assert.match(await refused("mqtt://127.0.0.1:1", good), /^2 .*--psk-file is for mqtts:\/\/ and wss:\/\//);
    const { code, stderr } = await say([
      "pub",
      "--bundle",
      join(server.data, "bundles", "first-device.json"),
      "--psk-file",
      good,
      "t",
      "x",
    ]);
    assert.equal(code, 2);
    assert.match(stderr, /leave out --psk-file/);
  });

  it("hints at pre-shared keys when a client with a certificate comes to that listener", async () => {
    const { certificate, key: own, ca } = firstBundle(server.data);
    const bundle = writeBundle("certificate", {
      device: "first-device",
      ca,
      certificate,
      key: own,
      servers: [{ url: urlOf(0) }],
    });
    const { code, stderr } = await say(["pub", "--bundle", bundle, "t", "x"]);
    assert.equal(code, 3);
    assert.match(stderr, /it may be a listener for pre-shared keys/);
  });

  it("does not list the listener in the bundles of devices with certificates", () => {
    assert.deepEqual(firstBundle(server.data).servers, [{ url: urlOf(2) }]);
  });
});
