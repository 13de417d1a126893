import assert from "node:assert/strict";
import { X509Certificate } from "node:crypto";
import { existsSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { createServer } from "node:https";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";

import { parseBundle, type Bundle } from "@postern/core/bundle";
import { fromPem } from "@postern/pki/pem";
import { encodeCertsOnly } from "@postern/pki/pkcs7";
import { z } from "zod";

import { run as runCommand } from "../src/main.ts";
import { fakeContext } from "../src/testing.ts";
import { issueCertificates } from "./support/certificates.ts";
import { EstTest, withEst } from "./support/est.ts";
import { PosternProcess, postern, preloaded, scratch, type Ended, type Scratch } from "./support/postern.ts";

const dayMs = 86_400_000;

/** Makes a process believe that so many days more have gone by. */
function later(days: number): Record<string, string> {
  return preloaded("preload-later.ts", { TEST_LATER_MS: String(days * dayMs) });
}

function assertSentence({ stdout, stderr, code }: Ended, exitCode: number, sentence: RegExp): void {
  assert.match(stderr, sentence);
  assert.match(stderr, /^postern: [^\n]+\n$/);
  assert.equal(stdout, "");
  assert.equal(code, exitCode);
}

describe("a device that enrols and renews", () => {
  let place: Scratch;
  let est: EstTest;

  before(async () => {
    place = scratch();
    est = await EstTest.start(place.path);
  });
  after(async () => {
    await est[Symbol.asyncDispose]();
    place[Symbol.dispose]();
  });

  function file(name: string): string {
    return join(place.path, name);
  }

  function read(name: string): Bundle {
    return parseBundle(readFileSync(file(name), "utf8"), name);
  }

  async function tokenFile(device: string): Promise<string> {
    const { token } = await est.token(device, { roles: ["administrator"] });
    writeFileSync(file(`${device}.token`), `${token}\n`, { mode: 0o600 });
    return `${device}.token`;
  }

  /** One command in this process, which starts faster than one of its own. */
  async function run(...args: readonly string[]): Promise<Ended> {
    const context = fakeContext({ cwd: place.path });
    const code = await runCommand(args, context);
    return { code, signal: null, stdout: context.out(), stderr: context.err() };
  }

  async function enrol(device: string, ...more: readonly string[]): Promise<Ended> {
    const ca = join(est.directory.pki, "root.crt");
    const bundle = `${device}.json`;
    return run(
      "enrol",
      "--url",
      est.url,
      "--ca",
      ca,
      "--token-file",
      await tokenFile(device),
      "--bundle",
      bundle,
      ...more,
    );
  }

  it("gets a bundle that lets it in, with a key that it made itself", async () => {
    const made = await run(
      "device",
      "enrol",
      "boiler",
      "--role",
      "administrator",
      "--data",
      est.server.data,
      "--out",
      "b.token",
    );
    assert.equal(made.code, 0, made.stderr);
    assert.equal(statSync(file("b.token")).mode & 0o777, 0o600);
    const [, command = ""] = /^ {2}\S.* enrol (--url .*)$/m.exec(made.stdout) ?? [];
    const enrolled = await run("enrol", ...command.split(" "));
    assert.equal(enrolled.code, 0, enrolled.stderr);
    assert.equal(statSync(file("boiler.json")).mode & 0o777, 0o600);
    const bundle = read("boiler.json");
    assert.deepEqual(
      bundle.servers,
      est.server.urls.map((url) => ({ url })),
    );
    assert.deepEqual(bundle.est, [{ url: est.url }]);
    const published = readFileSync(join(est.server.data, "pki", "broker-key.json"), "utf8");
    assert.equal(
      bundle.brokerKey,
      z.object({ brokerKey: z.string() }).parse(JSON.parse(published)).brokerKey,
    );
    assert.equal((await run("pub", "--bundle", "boiler.json", "devices/boiler/state", "on")).code, 0);
  });

  it("renews with a new key when two thirds of the life are over, not before, and at once when told to", async () => {
    assert.equal((await enrol("pump")).code, 0);
    const first = read("pump.json");
    const early = await run("renew", "--bundle", "pump.json");
    assert.equal(early.code, 0);
    assert.match(early.stdout, /is not to be renewed before/);
    assert.deepEqual(read("pump.json"), first);

    const due = await postern(["renew", "--bundle", "pump.json", "--json"], {
      cwd: place.path,
      env: later(21),
    });
    assert.equal(due.code, 0, due.stderr);
    assert.match(due.stdout, /^\{"state":"renewed","notAfter":"/);
    const second = read("pump.json");
    assert.notEqual(second.key, first.key);
    assert.deepEqual(
      [second.servers, second.est, second.ca, second.brokerKey],
      [first.servers, first.est, first.ca, first.brokerKey],
    );
    assert.equal((await run("renew", "--bundle", "pump.json", "--now")).code, 0);
    assert.equal((await run("pub", "--bundle", "pump.json", "devices/pump/state", "on")).code, 0);
    writeFileSync(file("old.json"), JSON.stringify(first), { mode: 0o600 });
    assert.equal(
      (await run("pub", "--bundle", "old.json", "devices/pump/state", "on")).code,
      0,
      "the old one overlaps",
    );
  });

  it("keeps Ed25519 and P-384 when it renews", async () => {
    for (const [type, curve] of [
      ["Ed25519", undefined],
      ["P-384", "secp384r1"],
    ] as const) {
      assert.equal((await enrol(type, "--key-type", type)).code, 0);
      assert.equal((await run("renew", "--bundle", `${type}.json`, "--now")).code, 0);
      const { publicKey } = new X509Certificate(read(`${type}.json`).certificate ?? "");
      assert.equal(publicKey.asymmetricKeyDetails?.namedCurve, curve);
    }
  });

  it("renews by itself while it subscribes", async () => {
    assert.equal((await enrol("siren")).code, 0);
    const { key } = read("siren.json");
    await using sub = new PosternProcess(["sub", "--bundle", "siren.json", "devices/siren/#"], {
      cwd: place.path,
      env: later(29),
    });
    await sub.until(/the certificate in siren\.json was renewed and is good until/);
    assert.notEqual(read("siren.json").key, key);
  });

  it("renews by itself in an application, which may give the bundle as an object", async () => {
    for (const [name, bundle] of [
      ["bell", `"bell.json"`],
      ["gong", `JSON.parse(readFileSync("gong.json", "utf8")), { bundleFile: "gong.json" }`],
    ] as const) {
      assert.equal((await enrol(name)).code, 0);
      const { key } = read(`${name}.json`);
      const program = `
        import { readFileSync } from "node:fs";
        import { connect } from ${JSON.stringify(import.meta.resolve("@postern/device/index"))};
        const device = await connect(${bundle});
        device.on("renewed", async (until) => {
          console.log("good until", until.toISOString());
          await device.close();
        });`;
      const node = ["--input-type=module", "--eval", program];
      await using application = new PosternProcess(node, { script: false, cwd: place.path, env: later(29) });
      const { code, stdout, stderr } = await application.ended;
      assert.deepEqual([code, stderr], [0, ""]);
      assert.match(stdout, /^good until 20/);
      assert.notEqual(read(`${name}.json`).key, key);
    }
  });

  it("sends its token to nobody but the server that it trusts", async () => {
    const { root } = await issueCertificates();
    writeFileSync(file("other.crt"), root.certificate);
    const args = [
      "enrol",
      "--url",
      est.url,
      "--token-file",
      await tokenFile("valve"),
      "--bundle",
      "valve.json",
    ];
    assertSentence(
      await run(...args, "--ca", "other.crt"),
      3,
      /not issued by the certificate authority we trust/,
    );
    assertSentence(
      await run(...args, "--fingerprint", "AB".repeat(32)),
      3,
      /does not show the certificate authority/,
    );
    assert.ok(!existsSync(file("valve.json")) && !existsSync(file("valve.json.new")));
    const fingerprint = new X509Certificate(est.ca).fingerprint256;
    for (const form of [fingerprint, fingerprint.replaceAll(":", "").toLowerCase()])
      assert.equal(
        (await run(...args, "--fingerprint", `SHA256:${form}`, "--force")).code,
        form === fingerprint ? 0 : 3,
      );
  });

  it("says in a sentence what is wrong, before its token is used", async () => {
    const token = await tokenFile("fan");
    const url = ["--url", est.url];
    const ca = ["--ca", join(est.directory.pki, "root.crt")];
    const rest = ["--token-file", token, "--bundle", "fan.json"];
    writeFileSync(file("empty"), "\n", { mode: 0o600 });
    writeFileSync(file("secret"), "pet_x\n", { mode: 0o600 });
    writeFileSync(file("there.json"), "{}", { mode: 0o600 });
    const table: readonly (readonly [args: readonly string[], code: number, sentence: RegExp])[] = [
      [["--url", "http://127.0.0.1:1", ...ca, ...rest], 2, /not the address of an enrolment server/],
      [["--url", "https://127.0.0.1:1/x", ...ca, ...rest], 2, /write https:\/\/host:port/],
      [[...url, ...rest], 2, /say whom to trust: --ca FILE .* or --fingerprint/],
      [[...url, ...ca, "--fingerprint", "AB", ...rest], 2, /say whom to trust/],
      [[...url, "--fingerprint", "AB", ...rest], 2, /64 hexadecimal digits/],
      [[...url, "--ca", "empty", ...rest], 2, /empty holds no certificate authority/],
      [
        [...url, "--ca", "missing", ...rest],
        2,
        /cannot read the certificate authority missing: there is no such file/,
      ],
      [[...url, ...ca, "--token-file", "empty", "--bundle", "fan.json"], 2, /holds no enrolment token/],
      [[...url, ...ca, "--token-file", "secret", "--bundle", "fan.json"], 2, /name it with --device/],
      [[...url, ...ca, ...rest, "--device", "door"], 2, /is for "fan", not for "door"/],
      [
        [...url, ...ca, "--token-file", token, "--bundle", "there.json"],
        2,
        /there already: --force replaces it/,
      ],
      [
        [...url, ...ca, "--token-file", token, "--bundle", "none/fan.json"],
        1,
        /cannot write .*none\/fan\.json/,
      ],
      [
        ["--url", "https://127.0.0.1:1", ...ca, ...rest],
        3,
        /cannot connect to https:\/\/127\.0\.0\.1:1: connection refused/,
      ],
    ];
    for (const [args, code, sentence] of table) assertSentence(await run("enrol", ...args), code, sentence);
    assert.equal((await run("enrol", ...url, ...ca, ...rest)).code, 0);
  });

  it("believes no answer that is not what it asked for, and leaves the file as it was", async () => {
    const { root, server, device } = await issueCertificates();
    const [foreign = Buffer.alloc(0)] = fromPem("CERTIFICATE", device.certificate);
    const [authority = Buffer.alloc(0)] = fromPem("CERTIFICATE", root.certificate);
    let enrolled = "";
    const evil = createServer(
      { key: server.key, cert: server.certificate, requestCert: true, rejectUnauthorized: false },
      (request, response) => {
        const authorities = encodeCertsOnly([authority]).toString("base64");
        response.end(request.url === "/.well-known/est/cacerts" ? authorities : enrolled);
      },
    );
    await new Promise<void>((resolve) => evil.listen(0, "127.0.0.1", resolve));
    try {
      const address = evil.address();
      assert.ok(typeof address === "object" && address !== null);
      const url = `https://127.0.0.1:${address.port}`;
      writeFileSync(file("evil.crt"), root.certificate);
      const bundle = { ...read("boiler.json"), ca: root.certificate };
      writeFileSync(file("victim.json"), JSON.stringify(bundle), { mode: 0o600 });
      const before = readFileSync(file("victim.json"), "utf8");
      for (const [answer, sentence] of [
        ["", /are no certificates in PKCS #7/],
        ["<html>", /are no certificates in PKCS #7/],
        [encodeCertsOnly([]).toString("base64"), /are no certificates in PKCS #7/],
        [encodeCertsOnly([foreign]).toString("base64"), /not for the key that was sent/],
        ["A".repeat(300_000), /its answer is too long/],
      ] as const) {
        enrolled = answer;
        const tooLong = answer.length > 262_144;
        const renewed = await run("renew", "--bundle", "victim.json", "--now", "--url", url);
        assertSentence(renewed, tooLong ? 3 : 1, sentence);
        assert.equal(readFileSync(file("victim.json"), "utf8"), before);
      }
    } finally {
      evil.closeAllConnections();
      evil.close();
    }
  });

  it("says what cannot be renewed", async () => {
    writeFileSync(
      file("password.json"),
      JSON.stringify({ ...read("boiler.json"), certificate: undefined, key: undefined, password: "x" }),
      { mode: 0o600 },
    );
    writeFileSync(file("lonely.json"), JSON.stringify({ ...read("boiler.json"), est: undefined }), {
      mode: 0o600,
    });
    assertSentence(await run("renew", "--bundle", "password.json"), 2, /nothing to renew/);
    assertSentence(await run("renew", "--bundle", "lonely.json"), 2, /name the enrolment server with --url/);
    assertSentence(await run("renew", "--bundle", "missing.json"), 2, /there is no such file/);
    assertSentence(await run("renew", "--bundle", "b.token"), 2, /is not a device bundle/);
  });

  it("works where the server has a certificate of another authority", async () => {
    const { root, server } = await issueCertificates();
    using other = scratch();
    for (const [name, text] of [
      ["server.crt", server.certificate],
      ["server.key", server.key],
      ["server-ca.crt", root.certificate],
    ] as const)
      writeFileSync(join(other.path, name), text, { mode: 0o600 });
    const tls = "tls: { certificate: server.crt, key: server.key, ca: server-ca.crt }\n";
    await using foreign = await EstTest.start(other.path, `${withEst}${tls}`);
    const here = { cwd: other.path };
    const made = await foreign.token("lamp", { roles: ["administrator"] });
    writeFileSync(join(other.path, "lamp.token"), made.token, { mode: 0o600 });
    const args = [
      "--url",
      foreign.url,
      "--fingerprint",
      made.fingerprint,
      "--token-file",
      "lamp.token",
      "--bundle",
      "lamp.json",
    ];
    for (const command of [
      ["enrol", ...args],
      ["pub", "--bundle", "lamp.json", "devices/lamp/state", "on"],
      ["renew", "--bundle", "lamp.json", "--now"],
      ["pub", "--bundle", "lamp.json", "devices/lamp/state", "on"],
    ]) {
      const context = fakeContext(here);
      assert.equal(await runCommand(command, context), 0, context.err());
    }
    assert.equal(
      parseBundle(readFileSync(join(other.path, "lamp.json"), "utf8"), "").ca.trim(),
      root.certificate.trim(),
    );
  });
});
