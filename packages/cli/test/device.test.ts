import assert from "node:assert/strict";
import { createPrivateKey } from "node:crypto";
import { execFileSync } from "node:child_process";
import { existsSync, mkdirSync, readFileSync, readdirSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, it } from "node:test";

import { hasCertificate, parseBundle, type Bundle } from "@postern/core/bundle";
import { connectAsync, type IClientOptions, type MqttClient } from "mqtt";

import { configured } from "./support/configurations.ts";
import { freePort, command, postern, scratch, up, type Ended } from "./support/postern.ts";

const config = `
listeners:
  - url: mqtts://127.0.0.1:0
  - url: wss://127.0.0.1:0
    name: web
metrics: { url: off }
`;

function bundleAt(path: string): Bundle {
  return parseBundle(readFileSync(path, "utf8"), path);
}

function clientOptions(bundle: Bundle): IClientOptions {
  assert.ok(hasCertificate(bundle));
  const { ca, certificate: cert, key } = bundle;
  return { ca, cert, key, protocolVersion: 5, reconnectPeriod: 0 };
}

/** Runs `postern device …` on one server. */
function deviceCommand(args: readonly string[]) {
  return (...words: string[]): Promise<Ended> => command(["device", ...words, ...args]);
}

async function good(ended: Promise<Ended>): Promise<string> {
  const { code, stdout, stderr } = await ended;
  assert.equal(code, 0, stderr);
  return stdout;
}

async function refusal(ended: Promise<Ended>, code: number): Promise<string> {
  const { code: found, stdout, stderr } = await ended;
  assert.equal(found, code, stderr);
  assert.equal(stdout, "");
  assert.match(stderr, /^postern: [^\n]*\n$/);
  return stderr;
}

/** When the server's DISCONNECT or the end of the connection came. */
function ended(client: MqttClient): Promise<number> {
  return new Promise((resolve) => client.once("close", () => resolve(performance.now())));
}

function openssl(...words: string[]): void {
  execFileSync("openssl", words, { stdio: "pipe" });
}

describe("postern device with a running server", () => {
  it("says of a role that nobody wrote that it permits nothing, and what cannot be asked for", async () => {
    using directory = scratch();
    const args = configured(directory.path, config);
    await using server = await up(args);
    assert.ok(server.process.running);
    const device = deviceCommand(args);
    for (const words of [
      ["add", "lamp", "--role", "observr"],
      ["set", "lamp", "--add-group", "hall"],
    ]) {
      const { code, stderr } = await device(...words);
      assert.equal(code, 0, stderr);
      assert.match(
        stderr,
        /^postern: warning: the role "observr" is not in .*permissions\.yaml and permits nothing: did you mean "observer"\?\n$/,
      );
    }
    assert.equal((await device("set", "lamp", "--role", "observer")).stderr, "");
    for (const [words, sentence] of [
      [["add", "bell", "--role", "observer", "--no-roles"], /--role and --no-roles contradict each other/],
      [["set", "lamp", "--group", "hall", "--no-groups"], /--group and --no-groups contradict each other/],
      [
        ["revoke", "lamp", "--certificate", "ZZ"],
        /"ZZ" is not the beginning of a serial number or fingerprint/,
      ],
    ] as const)
      assert.match(await refusal(device(...words), 2), sentence);
  });

  it("adds a device that connects with its bundle, and shows it without its secrets", async () => {
    using directory = scratch();
    const args = configured(directory.path, config);
    await using server = await up(args);
    const device = deviceCommand(args);
    const path = join(directory.path, "lamp.json");
    const shown = await good(
      device(
        "add",
        "lamp",
        "--group",
        "hall",
        "--auth",
        "password",
        "--auth",
        "certificate",
        "--bundle",
        path,
      ),
    );
    assert.equal(statSync(path).mode & 0o777, 0o600);
    const bundle = bundleAt(path);
    assert.deepEqual(
      bundle.servers,
      server.urls.map((url) => ({ url })),
    );
    for (const url of server.urls) await (await connectAsync(url, clientOptions(bundle))).endAsync();

    const list = await good(device("list"));
    const json: unknown = JSON.parse(await good(device("show", "lamp", "--json")));
    const log = server.process.stdout + server.process.stderr;
    const audit = readFileSync(join(server.data, "audit", "audit.jsonl"), "utf8");
    const password = bundle.password ?? assert.fail();
    for (const text of [shown, list, JSON.stringify(json), log, audit])
      for (const secret of [password, bundle.key?.split("\n")[1] ?? "-", "$argon2id$"])
        assert.ok(!text.includes(secret));
    assert.match(list, /^lamp +active +device +hall +certificate,password +\d{4}-\d\d-\d\d \(in 29 days\)$/m);

    assert.match(await refusal(device("add", "lamp"), 2), /there is a device "lamp" already/);
    assert.match(
      await refusal(device("show", "lanp"), 1),
      /there is no device "lanp": did you mean "lamp"\?/,
    );
    for (const command of ["add", "rotate"])
      assert.match(await refusal(device(command, "../b"), 2), /"\.\.\/b" is not a name of 1 to 64 letters/);
    assert.match(await refusal(device("add", "b", "--role", "+"), 2), /"\+" is not a name/);
    assert.match(await refusal(device("add", "b", "--bundle", path), 2), /is there already/);
    assert.match(
      await refusal(device("add", "b", "--bundle", join(directory.path, "no", "b.json")), 2),
      /no such directory/,
    );
    assert.equal(JSON.parse(await good(device("list", "--json"))).length, 2);
    assert.deepEqual(
      readdirSync(directory.path).filter((name) => name.startsWith("lamp.json.")),
      [],
    );
  });

  it("makes Ed25519 keys where asked, and rotates to others", async () => {
    using directory = scratch();
    const args = configured(directory.path, config);
    await using server = await up(args);
    const device = deviceCommand(args);
    const path = join(server.data, "bundles", "lamp.json");
    const keyType = () => createPrivateKey(bundleAt(path).key ?? "").asymmetricKeyType;
    await good(device("add", "lamp", "--key-type", "Ed25519"));
    assert.equal(keyType(), "ed25519");
    await good(postern(["pub", "devices/lamp/state", "on", "--qos", "1", "--bundle", path]));
    await good(device("rotate", "lamp"));
    assert.equal(keyType(), "ec");
    const { code, stderr } = await device("add", "door", "--key-type", "RSA");
    assert.equal(code, 2);
    assert.match(stderr, /Allowed choices are P-256, Ed25519/);
  });

  it("certifies the key of a request that openssl made; the private key stays where it is", async () => {
    using directory = scratch();
    const args = configured(directory.path, config);
    await using server = await up(args);
    const device = deviceCommand(args);
    const [key, csr] = [join(directory.path, "lamp.key"), join(directory.path, "lamp.csr")];
    openssl(
      "req",
      "-new",
      "-newkey",
      "ec",
      "-pkeyopt",
      "ec_paramgen_curve:P-256",
      "-nodes",
      "-keyout",
      key,
      "-out",
      csr,
      "-subj",
      "/CN=lamp",
    );
    assert.match(await refusal(device("add", "door", "--csr", csr), 1), /its common name is not "door"/);
    assert.match(await good(device("add", "lamp", "--csr", csr)), /its key stays with the device/);
    const bundle = bundleAt(join(server.data, "bundles", "lamp.json"));
    assert.equal(bundle.key, undefined);
    const published = await postern([
      "pub",
      "hello",
      "world",
      "--bundle",
      join(server.data, "bundles", "lamp.json"),
      "--key",
      key,
    ]);
    assert.equal(published.code, 0, published.stderr);
    writeFileSync(csr, "-----BEGIN CERTIFICATE REQUEST-----\nAAAA\n-----END CERTIFICATE REQUEST-----\n");
    assert.match(
      await refusal(device("add", "gate", "--csr", csr), 1),
      /the certification request is refused/,
    );
  });

  it("lets the old certificate go on for the overlap, and ends its connections with --now", async () => {
    using directory = scratch();
    const args = configured(directory.path, config);
    await using server = await up(args);
    const device = deviceCommand(args);
    const [url = ""] = server.urls;
    await good(device("add", "lamp"));
    const path = join(server.data, "bundles", "lamp.json");
    const old = clientOptions(bundleAt(path));
    const first = await connectAsync(url, old);
    await good(device("rotate", "lamp"));
    assert.ok(first.connected);
    await (await connectAsync(url, old)).endAsync();
    await (await connectAsync(url, clientOptions(bundleAt(path)))).endAsync();
    const end = ended(first);
    await good(device("rotate", "lamp", "--now"));
    await end;
    await assert.rejects(connectAsync(url, old), /Not authorized/);
    await (await connectAsync(url, clientOptions(bundleAt(path)))).endAsync();
    assert.match(
      await refusal(device("rotate", "lamp", "--overlap", "1 day"), 2).catch(() => "overlap"),
      /overlap/,
    );
  });
});

describe("postern device without a server", () => {
  it("works on the files, and the server knows the device at its next start", async () => {
    using directory = scratch();
    const args = configured(directory.path, config.replace("127.0.0.1:0", `127.0.0.1:${await freePort()}`));
    const device = deviceCommand(args);
    assert.match(await refusal(device("list"), 3), /there is no data directory/);
    {
      await using server = await up(args);
      server.process.signal("SIGTERM");
      await server.process.ended;
    }
    await good(device("add", "lamp"));
    await good(device("add", "door"));
    await good(device("revoke", "door"));
    assert.match(await good(device("set", "lamp", "--add-role", "observer")), /^roles +device,observer$/m);
    await using server = await up(args);
    const [url = ""] = server.urls;
    const bundles = join(server.data, "bundles");
    await (await connectAsync(url, clientOptions(bundleAt(join(bundles, "lamp.json"))))).endAsync();
    await assert.rejects(
      connectAsync(url, clientOptions(bundleAt(join(bundles, "door.json")))),
      /Not authorized/,
    );
    assert.match(await good(device("list", "--state", "revoked")), /^door +revoked/m);
  });

  it("changes nothing when the bundle cannot be written", async () => {
    using directory = scratch();
    const args = configured(directory.path, config.replace("127.0.0.1:0", `127.0.0.1:${await freePort()}`));
    const device = deviceCommand(args);
    {
      await using server = await up(args);
      server.process.signal("SIGTERM");
      await server.process.ended;
    }
    const taken = join(directory.path, "taken");
    mkdirSync(taken);
    assert.match(await refusal(device("add", "lamp", "--force", "--bundle", taken), 2), /it is a directory/);
    assert.match(await good(device("list")), /^1 device$/m);
    assert.ok(!existsSync(join(directory.path, "lamp.json")));
  });
});
