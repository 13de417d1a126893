import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";
import { createServer as createHttpsServer } from "node:https";
import { join } from "node:path";
import { describe, it } from "node:test";
import { createServer as createTlsServer, type Server } from "node:tls";

import { connect } from "@postern/device/index";
import { openTransport } from "@postern/device/transport";
import { issueServer, type KeyPair } from "@postern/pki/issue";
import { encodeCertId } from "@postern/pki/ocsp/cert-id";
import { OcspSigner, encodeOcspResponse, type CertificateStatus } from "@postern/pki/ocsp/encode-response";
import { certificateOf, derOf, fieldsOf } from "@postern/pki/testing";

import { targetOfUrl } from "../../src/client/target.ts";
import { configured } from "../support/configurations.ts";
import { Plant, days } from "../support/plant.ts";
import { firstBundle, postern, scratch, up } from "../support/postern.ts";
import { skipWithout } from "../support/programs.ts";
import { connectBytes, portOf } from "../support/raw.ts";
import { run } from "../support/run.ts";

const hourMs = 3_600_000;

/** What an impostor staples: an answer about its certificate, or nothing. */
interface Staple {
  readonly status: CertificateStatus;
  readonly fromMs?: number;
  readonly signer?: KeyPair;
}

class Impostor implements AsyncDisposable {
  readonly #server: Server;
  readonly url: string;
  /** Whether anybody said anything after the handshake. */
  spokenTo = false;

  private constructor(server: Server, scheme: string, port: number) {
    this.#server = server;
    this.url = `${scheme}://localhost:${port}`;
    server.on("secureConnection", (socket) => {
      socket.on("error", () => {});
      socket.on("data", () => {
        this.spokenTo = true;
        // CONNACK 0 of MQTT 5 to whatever comes; of HTTP it is none.
        socket.write(Uint8Array.of(0x20, 0x03, 0x00, 0x00, 0x00));
      });
    });
  }

  static async start(
    scheme: "mqtts" | "wss",
    plant: Plant,
    pair: KeyPair,
    staple: Staple | undefined,
  ): Promise<Impostor> {
    const options = { cert: pair.certificate + plant.issuing.certificate, key: pair.key };
    const server: Server = scheme === "wss" ? createHttpsServer(options) : createTlsServer(options);
    server.on("tlsClientError", () => {});
    server.on(
      "OCSPRequest",
      (_certificate: Buffer, _issuer: Buffer, done: (error: null, response: Buffer | null) => void) =>
        done(null, staple === undefined ? null : stapled(plant, pair, staple)),
    );
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", () => resolve()));
    const address = server.address();
    if (typeof address !== "object" || address === null) throw new Error("no port");
    return new Impostor(server, scheme, address.port);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await new Promise((resolve) => this.#server.close(resolve));
  }
}

function stapled(
  plant: Plant,
  pair: KeyPair,
  { status, fromMs = Date.now(), signer = plant.responder }: Staple,
): Buffer {
  const { certificate, key } = signer;
  const { serialNumber } = certificateOf(pair.certificate);
  const certId = encodeCertId(fieldsOf(plant.issuing.certificate), serialNumber, "sha1");
  return encodeOcspResponse({
    signer: new OcspSigner({ certificate: derOf(certificate), fields: fieldsOf(certificate), key }),
    answers: [{ certId, status, thisUpdateMs: fromMs, nextUpdateMs: fromMs + hourMs }],
    producedAtMs: fromMs,
    nonce: undefined,
  });
}

/** Speaks at once, as MQTT clients do, over the transport of pub and sub. @returns why that failed; `undefined` when it was answered. */
async function speak(url: string, ca: string): Promise<string | undefined> {
  const { target } = targetOfUrl(url);
  const { stream } = openTransport(target, {
    tls: { ca, cert: undefined, key: undefined },
    protocolVersion: 5,
    knock: undefined,
  });
  stream.on("error", () => {});
  stream.write(connectBytes("x"));
  const outcome = await new Promise<string | undefined>((resolve) => {
    stream.once("error", (error: Error) => resolve(error.message));
    stream.once("data", () => resolve(undefined));
  });
  stream.destroy();
  return outcome;
}

describe("attack 10: a server that cannot show that its certificate is good", () => {
  it(
    "is not the real one, which staples to openssl and to our clients",
    { skip: skipWithout("openssl") },
    async () => {
      using place = scratch();
      const text = `listeners: [{ url: "mqtts://127.0.0.1:0" }, { url: "wss://127.0.0.1:0" }]\nmetrics: { url: off }\nest: { url: off }\ntls: { mustStaple: true }\n`;
      await using server = await up(configured(place.path, text));
      const bundle = firstBundle(server.data);
      const certificate = join(place.path, "device.crt");
      const key = join(place.path, "device.key");
      writeFileSync(certificate, bundle.certificate ?? "");
      writeFileSync(key, bundle.key ?? "", { mode: 0o600 });
      const root = join(server.data, "pki", "root.crt");
      for (const url of server.urls) {
        for (const version of ["-tls1_2", "-tls1_3"]) {
          const where = ["-connect", `127.0.0.1:${portOf(url)}`, "-CAfile", root];
          const said = await run("openssl", ["s_client", version, "-status", ...where]);
          assert.match(said.text, /Cert Status: good/);
          assert.match(said.text, /Verify return code: 0/);
        }
        const credentials = [
          "--ca",
          join(server.data, "pki", "root.crt"),
          "--cert",
          certificate,
          "--key",
          key,
        ];
        const published = await postern([
          "pub",
          "--url",
          url,
          ...credentials,
          "devices/first-device/x",
          "hello",
        ]);
        assert.equal(published.code, 0, published.stderr);
      }
    },
  );

  it("is refused by pub before anything is said, where its certificate promises a stapled answer", async () => {
    using place = scratch();
    const plant = await Plant.make(place.path);
    const request = { hosts: ["localhost"], validity: days(-1, 1), issuer: plant.issuing };
    const promising = await issueServer({ ...request, mustStaple: true });
    const plain = await issueServer(request);
    const ca = join(place.path, "ca.pem");
    writeFileSync(ca, plant.root.certificate);
    const good: Staple = { status: { kind: "good" } };
    const revoked: Staple = { status: { kind: "revoked", revokedAtMs: Date.now() - hourMs, reason: 1 } };
    const rows: readonly (readonly [KeyPair, Staple | undefined, RegExp | undefined])[] = [
      [promising, undefined, /must-staple.*none came/],
      [promising, revoked, /was revoked at .*keyCompromise/],
      [promising, { ...good, fromMs: Date.now() - 2 * hourMs }, /must-staple.*out of date/],
      [promising, { ...good, signer: plain }, /must-staple.*not for signing OCSP/],
      [promising, { status: { kind: "unknown" } }, /must-staple.*does not know/],
      [plain, revoked, /was revoked at/],
      // And what is honest: it is spoken to.
      [promising, good, undefined],
      [plain, undefined, undefined],
      [plain, good, undefined],
      [plain, { ...good, fromMs: Date.now() - 2 * hourMs }, undefined],
    ];
    for (const [index, [pair, staple, reason]] of rows.entries()) {
      const scheme = index % 2 === 0 || reason === undefined ? "mqtts" : "wss";
      await using impostor = await Impostor.start(scheme, plant, pair, staple);
      const error = await speak(impostor.url, plant.root.certificate);
      assert.equal(impostor.spokenTo, reason === undefined, `row ${index}: ${error ?? ""}`);
      if (reason === undefined) assert.equal(error, undefined);
      else assert.match(error ?? "", reason);
    }
    await using impostor = await Impostor.start("mqtts", plant, promising, undefined);
    const ended = await postern(["pub", "--url", impostor.url, "--ca", ca, "topic", "secret"]);
    assert.equal(ended.code, 3, ended.stderr);
    assert.match(ended.stderr.replaceAll("\n", " "), /must-staple.*none came/);
    assert.equal(impostor.spokenTo, false);
  });

  it("is refused by applications where it was revoked, and where they ask for proof and none comes", async () => {
    using place = scratch();
    const plant = await Plant.make(place.path);
    const request = { hosts: ["localhost"], validity: days(-1, 1), issuer: plant.issuing };
    const pair = await issueServer(request);
    const good: Staple = { status: { kind: "good" } };
    const revoked: Staple = { status: { kind: "revoked", revokedAtMs: Date.now() - hourMs, reason: 1 } };
    const rows: readonly (readonly ["soft" | "require", Staple | undefined, RegExp | undefined])[] = [
      ["soft", revoked, /was revoked at/],
      ["require", revoked, /was revoked at/],
      ["require", undefined, /we ask for proof.*none came/],
      ["require", { ...good, fromMs: Date.now() - 2 * hourMs }, /we ask for proof.*out of date/],
      ["require", { status: { kind: "unknown" } }, /we ask for proof.*does not know/],
      ["require", good, undefined],
      ["soft", undefined, undefined],
    ];
    for (const [staple, answer, reason] of rows) {
      await using impostor = await Impostor.start("mqtts", plant, pair, answer);
      const servers = [{ url: impostor.url }];
      const bundle = { postern: 1, device: "d", servers, ca: plant.root.certificate, password: "p" } as const;
      const connecting = connect({ ...bundle, servers }, { staple, connectTimeoutMs: 5_000 });
      if (reason === undefined) await (await connecting).close();
      else await assert.rejects(connecting, reason);
      assert.equal(impostor.spokenTo, reason === undefined);
    }
  });
});
