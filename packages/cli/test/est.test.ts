import assert from "node:assert/strict";
import { execFileSync, spawnSync } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import { once } from "node:events";
import { join } from "node:path";
import { connect, type SecureVersion, type TLSSocket } from "node:tls";
import { after, before, describe, it } from "node:test";

import { fromPem } from "@postern/pki/pem";
import { z } from "zod";

import { EstTest, csr, held, newKey } from "./support/est.ts";
import { TestClient } from "./support/mqttjs.ts";
import { scratch, type Scratch } from "./support/postern.ts";

function missing(command: string, ...args: readonly string[]): string | false {
  return spawnSync(command, args).error === undefined ? false : `${command} is not installed`;
}

const curlMissing = missing("curl", "--version") || missing("openssl", "version");
const strongSwanMissing = missing("pki", "--version");

/** @see RFC 9266 §4.2 */
function exporter(socket: TLSSocket): Buffer {
  return socket.exportKeyingMaterial(32, "EXPORTER-Channel-Binding", Buffer.alloc(0));
}

describe("EST server (RFC 7030, RFC 8951)", () => {
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

  function run(command: string, ...args: readonly string[]): Buffer {
    return execFileSync(command, args, { cwd: place.path, stdio: "pipe" });
  }

  function curl(...args: readonly string[]): Buffer {
    return run("curl", "-sS", "--fail-with-body", "--cacert", "ca.pem", ...args);
  }

  function requestForPump(name: string): void {
    run("openssl", ..."ecparam -name prime256v1 -genkey -noout -out".split(" "), `${name}.key`);
    run(
      "openssl",
      ..."req -new -subj /CN=pump -outform DER -key".split(" "),
      `${name}.key`,
      "-out",
      `${name}.der`,
    );
    run("openssl", "base64", "-in", `${name}.der`, "-out", `${name}.b64`);
  }

  /** Enrols `lock` on one connection with a challenge password made of it. */
  async function enrolOver(
    version: SecureVersion,
    token: string,
    binding: (socket: TLSSocket) => Buffer | undefined,
  ): Promise<string> {
    const { hostname: host, port } = new URL(est.url);
    const versions = { minVersion: version, maxVersion: version };
    const socket = connect({ host, port: Number(port), ca: est.ca, ...versions });
    await once(socket, "secureConnect");
    const challengePassword = binding(socket)?.toString("base64") ?? "";
    const body = csr({ device: "lock", challengePassword });
    const lines = [
      "POST /.well-known/est/simpleenroll HTTP/1.1",
      "host: est",
      "connection: close",
      "content-type: application/pkcs10",
      `authorization: Basic ${Buffer.from(token).toString("base64")}`,
      `content-length: ${body.length}`,
    ];
    socket.write(`${lines.join("\r\n")}\r\n\r\n${body}`);
    const chunks: Buffer[] = [];
    for await (const chunk of socket) chunks.push(Buffer.from(chunk));
    return Buffer.concat(chunks).toString();
  }

  it("gives its authorities to anybody, as base64 without line ends (§4.1)", async () => {
    const { status, headers, text } = await est.send({ path: "/.well-known/est/cacerts" });
    assert.equal(status, 200);
    assert.equal(headers["content-type"], "application/pkcs7-mime; smime-type=certs-only");
    assert.match(text, /^[A-Za-z0-9+/]+=*$/);
  });

  it("lets a device that renewed in with the old and the new certificate", async () => {
    const old = await est.enrol("boiler", ["device"]);
    const key = newKey();
    const renewed = held(
      await est.simpleReenroll(csr({ device: "boiler", tenant: "default", key }), old),
      key,
    );
    const [url = ""] = est.server.urls;
    for (const { cert, key: pem } of [old, renewed]) {
      await using client = await TestClient.connect(url, { ca: est.ca, cert, key: pem });
      assert.ok(client.client.connected);
    }
    const { status, text } = await est.send({ path: "/postern/device", as: renewed });
    assert.equal(status, 200);
    const published = readFileSync(join(est.server.data, "pki", "broker-key.json"), "utf8");
    const { brokerKey } = z.object({ brokerKey: z.string() }).parse(JSON.parse(published));
    assert.deepEqual(JSON.parse(text), {
      device: "boiler",
      tenant: "default",
      servers: [{ url }],
      est: [{ url: est.url }],
      brokerKey,
    });
  });

  it(
    "serves curl and openssl, from the authorities to a renewed certificate",
    { skip: curlMissing },
    async () => {
      const base = `${est.url}/.well-known/est`;
      writeFileSync(join(place.path, "ca.pem"), est.ca);
      writeFileSync(join(place.path, "user"), `user = "${(await est.token("pump")).token}"\n`);
      const take = (name: string, answer: Buffer): void => {
        writeFileSync(join(place.path, `${name}.p7`), Buffer.from(answer.toString(), "base64"));
        run(
          "openssl",
          ..."pkcs7 -inform DER -print_certs -out".split(" "),
          `${name}.pem`,
          "-in",
          `${name}.p7`,
        );
      };
      take("authorities", curl(`${base}/cacerts`));
      const authorities = readFileSync(join(place.path, "authorities.pem"), "utf8");
      assert.deepEqual(fromPem("CERTIFICATE", authorities)[1], fromPem("CERTIFICATE", est.ca)[0]);

      const post = ["-H", "Content-Type: application/pkcs10", "--data-binary"];
      requestForPump("first");
      take("first", curl("-K", "user", ...post, "@first.b64", `${base}/simpleenroll`));
      requestForPump("second");
      take(
        "second",
        curl("--cert", "first.pem", "--key", "first.key", ...post, "@second.b64", `${base}/simplereenroll`),
      );
      for (const name of ["first.pem", "second.pem"]) {
        const args = "verify -x509_strict -purpose sslclient -CAfile ca.pem -untrusted authorities.pem".split(
          " ",
        );
        assert.match(run("openssl", ...args, name).toString(), /: OK/);
        assert.match(
          run("openssl", ..."x509 -noout -subject -ext subjectAltName -in".split(" "), name).toString(),
          /subject=CN = pump[^]*URI:urn:iot:default:pump/,
        );
      }
      const attributes = Buffer.from(curl(`${base}/csrattrs`).toString(), "base64");
      const { stdout } = spawnSync("openssl", ["asn1parse", "-inform", "DER"], {
        input: attributes,
        encoding: "utf8",
      });
      assert.match(stdout, /id-ecPublicKey[^]*prime256v1[^]*ecdsa-with-SHA256/);
    },
  );

  it("serves the EST client of strongSwan", { skip: strongSwanMissing || curlMissing }, async () => {
    const root = fromPem("CERTIFICATE", est.ca)[0] ?? Buffer.alloc(0);
    writeFileSync(join(place.path, "root.der"), root);
    const issuing = fromPem("CERTIFICATE", readFileSync(join(est.directory.pki, "issuing.crt"), "utf8"))[0];
    writeFileSync(join(place.path, "issuing.der"), issuing ?? Buffer.alloc(0));
    const { token } = await est.token("gate");
    const file = (name: string, content: Buffer): string => {
      writeFileSync(join(place.path, name), content);
      return name;
    };
    const request = (name: string): string => {
      const key = file(`${name}.key`, run("pki", ..."--gen --type ecdsa --size 256".split(" ")));
      return file(`${name}.csr`, run("pki", ..."--req --type ecdsa --dn CN=gate --in".split(" "), key));
    };
    const trust = ["--cacert", "root.der", "--cacert", "issuing.der"];
    const est1 = ["--est", "--url", est.url, ...trust, "--userpass", token, "--in", request("g1")];
    file("g1.crt", run("pki", ...est1));
    const est2 = [
      "--est",
      "--url",
      est.url,
      ...trust,
      "--cert",
      "g1.crt",
      "--key",
      "g1.key",
      "--in",
      request("g2"),
    ];
    const renewed = run("pki", ...est2);
    const shown = spawnSync("openssl", "x509 -inform DER -noout -subject".split(" "), {
      input: renewed,
      encoding: "utf8",
    });
    assert.match(shown.stdout, /subject=CN = gate/);
    run("pki", "--estca", "--url", est.url, "--cacert", "root.der", "--caout", "swan");
    assert.deepEqual(readFileSync(join(place.path, "swan.der")), root);
  });

  it("answers what it cannot serve with status and a sentence (§4.2.3)", async () => {
    const { token } = await est.token("valve");
    const path = "/.well-known/est/simpleenroll";
    const type = "application/pkcs10";
    const good = csr({ device: "valve" });
    const table: readonly (readonly [
      status: number,
      text: RegExp,
      request: Parameters<EstTest["send"]>[0],
    ])[] = [
      [401, /needs the device's name and its one-time token/, { path, body: good, type }],
      [
        415,
        /Content-Type: application\/pkcs10/,
        { path, body: good, type: "application/json", userAndToken: token },
      ],
      [415, /Content-Type: application\/pkcs10/, { path, body: good, userAndToken: token }],
      [413, /at most 16384 bytes/, { path, body: "A".repeat(16_385), type, userAndToken: token }],
      [400, /neither DER nor one PEM block/, { path, body: "", type, userAndToken: token }],
      [400, /neither DER nor one PEM block/, { path, body: "%%%%", type, userAndToken: token }],
      [400, /neither DER nor one PEM block/, { path, body: "aGVsbG8=", type, userAndToken: token }],
      [400, /no certification request/, { path, body: good.slice(0, -8), type, userAndToken: token }],
      [
        400,
        /-----BEGIN|neither/,
        { path, body: "-----BEGIN CERTIFICATE REQUEST-----\nAAAA", type, userAndToken: token },
      ],
      [403, /needs the device's certificate/, { path: "/.well-known/est/simplereenroll", body: good, type }],
      [403, /devices with a good certificate/, { path: "/postern/device" }],
      [404, /RFC 7030/, { path: "/.well-known/est/serverkeygen", body: good, type }],
      [404, /RFC 7030/, { path: "/.well-known/est/simpleenroll" }],
      [404, /RFC 7030/, { path: "/" }],
    ];
    for (const [status, text, request] of table) {
      const answer = await est.send(request);
      assert.equal(answer.status, status, `${request.path}: ${answer.text}`);
      assert.match(answer.text, text);
      assert.match(String(answer.headers["content-type"]), /^text\/plain/);
      assert.equal(answer.headers["www-authenticate"] !== undefined, status === 401);
    }
    // None of this cost the device its token.
    assert.equal((await est.simpleEnroll(good, token)).status, 200);
  });

  it("takes a request that is bound to its connection, and refuses one that is bound to another (§3.5, RFC 9266)", async () => {
    for (const version of ["TLSv1.2", "TLSv1.3"] as const) {
      const { token } = await est.token("lock");
      let earlier: Buffer | undefined;
      const other = await enrolOver(version, token, (socket) => {
        earlier = exporter(socket);
        return Buffer.alloc(32);
      });
      assert.match(other, /^HTTP\/1\.1 400 [^]*not the channel binding of this connection/);
      assert.match(
        await enrolOver(version, token, () => earlier),
        /^HTTP\/1\.1 400 /,
        "of an earlier connection",
      );
      assert.match(await enrolOver(version, token, exporter), /^HTTP\/1\.1 200 /, version);
    }
    const { token } = await est.token("lock");
    const unique = await enrolOver("TLSv1.2", token, (socket) => socket.getFinished());
    assert.match(unique, /^HTTP\/1\.1 200 /, "tls-unique");
  });

  it("takes a request in PEM, and base64 in lines", async () => {
    const lines = csr({ device: "fan" }).replace(/.{64}/g, "$&\r\n");
    for (const body of [
      lines,
      `-----BEGIN CERTIFICATE REQUEST-----\n${csr({ device: "fan" })}\n-----END CERTIFICATE REQUEST-----\n`,
    ]) {
      const { token } = await est.token("fan");
      assert.equal((await est.simpleEnroll(body, token)).status, 200);
    }
  });

  it("writes into the audit log who got a certificate and who did not, and a token nowhere", async () => {
    const { token } = await est.token("horn");
    const secret = token.slice("horn:".length);
    await est.simpleEnroll(csr({ device: "horn" }), token);
    await est.simpleEnroll(csr({ device: "horn" }), token);
    await est.simpleEnroll(csr({ device: "horn" }), `${secret}:horn`);
    const lines = await est.audit(/"identity":"","detail":"token: .*\n$/);
    assert.match(lines, /"kind":"enrolment-token-made","address":"","identity":"horn"/);
    assert.match(
      lines,
      /"kind":"enrolled","address":"127\.0\.0\.1","identity":"horn","detail":"certificate [0-9A-F]{32}/,
    );
    assert.match(
      lines,
      /"kind":"enrolment-refused","address":"127\.0\.0\.1","identity":"horn","detail":"token: .* was used/,
    );
    assert.match(
      lines,
      /"kind":"enrolment-refused","address":"127\.0\.0\.1","identity":"","detail":"token: /,
    );
    const tokens = readFileSync(join(est.directory.pki, "enrolments.jsonl"), "utf8");
    const { stdout, stderr } = est.server.process;
    for (const text of [lines, tokens, stdout, stderr]) assert.ok(!text.includes(secret));
  });
});
