import assert from "node:assert/strict";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";

import { parseBundle } from "@postern/core/bundle";

import { run as main } from "../src/main.ts";
import { fakeContext } from "../src/testing.ts";
import { configured } from "./support/configurations.ts";
import { PosternProcess, scratch, up, type Scratch, type TestServer } from "./support/postern.ts";

const config = `
listeners:
  - url: mqtts://127.0.0.1:0
    name: certificates
  - url: mqtts://127.0.0.1:0
    name: keys
    psk: true
  - url: wss://127.0.0.1:0
    name: web
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

interface Said {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs a command line in this process. */
async function say(...args: readonly string[]): Promise<Said> {
  const context = fakeContext({ cwd: directory.path });
  const code = await main(args, context);
  return { code, stdout: context.out(), stderr: context.err() };
}

async function device(...args: readonly string[]): Promise<void> {
  const { code, stderr } = await say("device", ...args, "--data", server.data);
  assert.equal(code, 0, stderr);
}

const bundlePath = (name: string) => join(server.data, "bundles", `${name}.json`);

const publish = (bundle: string) => say("pub", "--bundle", bundle, "--qos", "1", "bundles/x", "hello");

const refusals = {
  certificate:
    /refused the connection: Not authorized \(0x87\); it does not take the certificate in the bundle: the device was revoked/,
  password:
    /Bad User Name or Password \(0x86\); it does not take the password in the bundle: the device was revoked/,
  token:
    /Bad User Name or Password \(0x86\); it does not take the token in the bundle: the device was revoked/,
  psk: /the server does not accept our pre-shared key: it does not know "d-psk", or the key is another now/,
} as const;

for (const [kind, refusal] of Object.entries(refusals)) {
  describe(`a bundle with a ${kind}`, () => {
    const name = `d-${kind}`;

    it("is all that pub and sub need", async () => {
      await device("add", name, "--auth", kind, "--role", "administrator");
      await using sub = new PosternProcess([
        "sub",
        "--bundle",
        bundlePath(name),
        "--count",
        "1",
        "--verbose",
        "bundles/#",
      ]);
      await sub.until(/subscribed/i);
      const { code, stderr } = await publish(bundlePath(name));
      assert.equal(code, 0, stderr);
      const { stdout } = await sub.ended;
      assert.match(stdout, /hello/);
    });

    it("says what to do when the device was revoked, and holds no secret in what it says", async () => {
      await device("revoke", name);
      const { code, stderr } = await publish(bundlePath(name));
      assert.equal(code, 3);
      assert.match(stderr, refusal);
      const { password, token, psk, key } = parseBundle(readFileSync(bundlePath(name), "utf8"), name);
      for (const secret of [password, token, psk?.key, key])
        assert.ok(secret === undefined || !stderr.includes(secret));
    });
  });
}

describe("a bundle", () => {
  it("with a token that has ended says when it did", async () => {
    await device("add", "ended", "--auth", "token", "--role", "administrator");
    const bundle = parseBundle(readFileSync(bundlePath("ended"), "utf8"), "ended");
    const [header = "", , signature = ""] = (bundle.token ?? "").split(".");
    const claims = Buffer.from(JSON.stringify({ sub: "ended", exp: Date.UTC(2020, 0, 1) / 1_000 })).toString(
      "base64url",
    );
    const file = join(directory.path, "ended.json");
    writeFileSync(file, JSON.stringify({ ...bundle, token: `${header}.${claims}.${signature}` }), {
      mode: 0o600,
    });
    const { code, stderr } = await publish(file);
    assert.equal(code, 3);
    assert.match(
      stderr,
      /; our token expired on 2020-01-01T00:00:00\.000Z: get a new bundle from the server\n$/,
    );
  });

  it("with a password that was changed, and one with a key of another, are refused with a reason", async () => {
    await device("add", "changed", "--auth", "password", "--role", "administrator");
    const bundle = parseBundle(readFileSync(bundlePath("changed"), "utf8"), "changed");
    const file = join(directory.path, "changed.json");
    writeFileSync(file, JSON.stringify({ ...bundle, password: "not this one" }), { mode: 0o600 });
    const { code, stderr } = await publish(file);
    assert.equal(code, 3);
    assert.match(stderr, refusals.password);
  });

  it("with too short a key is refused before anything is sent", async () => {
    const { ca } = parseBundle(readFileSync(bundlePath("first-device"), "utf8"), "first");
    const file = join(directory.path, "short.json");
    const psk = { identity: "x", key: Buffer.alloc(15).toString("base64") };
    const servers = [{ url: "mqtts://127.0.0.1:1" }];
    writeFileSync(file, JSON.stringify({ postern: 1, device: "x", ca, servers, psk }), { mode: 0o600 });
    const { code, stderr } = await publish(file);
    assert.equal(code, 2);
    assert.match(stderr, /the pre-shared key has 120 bits; 128 are the least/);
  });

  it("of every kind leaves the server able to say how it is", async () => {
    const { code, stdout, stderr } = await say("status", "--data", server.data);
    assert.equal(code, 0, stderr);
    assert.match(stdout, /pre-shared key|keys/);
  });
});
