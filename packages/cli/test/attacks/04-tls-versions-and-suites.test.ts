import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";

import { chosenSuites, everySuite, offer } from "@postern/broker/testing/client-hello";

import { configured } from "../support/configurations.ts";
import { skipWithout } from "../support/programs.ts";
import { scratch, up, type Scratch, type TestServer } from "../support/postern.ts";
import { connectMqtt, portOf, secured } from "../support/raw.ts";
import { run } from "../support/run.ts";

const config = `
listeners:
  - url: mqtts://127.0.0.1:0
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

/** What OpenSSL would offer if it were let: the lowest security level, and all it has. */
const refused = {
  "TLS 1.0": ["-tls1", "-cipher", "ALL:@SECLEVEL=0"],
  "TLS 1.1": ["-tls1_1", "-cipher", "ALL:@SECLEVEL=0"],
  "CBC with SHA-1": ["-tls1_2", "-cipher", "ECDHE-ECDSA-AES128-SHA:AES128-SHA:@SECLEVEL=0"],
  "CBC with SHA-2": ["-tls1_2", "-cipher", "ECDHE-ECDSA-AES128-SHA256:AES128-SHA256:@SECLEVEL=0"],
  "no encryption": ["-tls1_2", "-cipher", "eNULL:@SECLEVEL=0"],
  "no authentication": ["-tls1_2", "-cipher", "aNULL:@SECLEVEL=0"],
  "key exchange by RSA": ["-tls1_2", "-cipher", "kRSA:@SECLEVEL=0"],
  "key exchange in finite fields": ["-tls1_2", "-cipher", "kDHE:@SECLEVEL=0"],
  "eight-byte tags in TLS 1.3": ["-tls1_3", "-ciphersuites", "TLS_AES_128_CCM_8_SHA256"],
  "signatures with SHA-1": ["-tls1_2", "-cipher", "ALL:@SECLEVEL=0", "-sigalgs", "ECDSA+SHA1:RSA+SHA1"],
  "a weak group": ["-tls1_2", "-groups", "P-521"],
};

const accepted = {
  "TLS 1.2 with AES-128-GCM": {
    args: ["-tls1_2", "-cipher", "ECDHE-ECDSA-AES128-GCM-SHA256"],
    cipher: "ECDHE-ECDSA-AES128-GCM-SHA256",
  },
  "TLS 1.2 with ChaCha20": {
    args: ["-tls1_2", "-cipher", "ECDHE-ECDSA-CHACHA20-POLY1305"],
    cipher: "ECDHE-ECDSA-CHACHA20-POLY1305",
  },
  "TLS 1.3": { args: ["-tls1_3"], cipher: "TLS_AES_128_GCM_SHA256" },
  "TLS 1.3 with AES-256": {
    args: ["-tls1_3", "-ciphersuites", "TLS_AES_256_GCM_SHA384"],
    cipher: "TLS_AES_256_GCM_SHA384",
  },
};

function client(index: number, args: readonly string[]) {
  return run("openssl", ["s_client", "-connect", `127.0.0.1:${portOf(server.urls[index])}`, ...args]);
}

for (const index of [0, 1]) {
  describe(
    `attack 04: weak TLS on ${index === 0 ? "mqtts" : "wss"}`,
    { skip: skipWithout("openssl") },
    () => {
      for (const [name, args] of Object.entries(refused)) {
        it(`is refused: ${name}`, async () => {
          const { code, text } = await client(index, args);
          assert.notEqual(code, 0, text);
          assert.match(text, /alert (handshake failure|protocol version|internal error)/, name);
          assert.match(text, /Cipher is \(NONE\)/);
        });
      }

      for (const [name, { args, cipher }] of Object.entries(accepted)) {
        it(`is not what good clients meet: ${name}`, async () => {
          const { text } = await client(index, args);
          assert.match(text, new RegExp(`Cipher is ${cipher}\n`));
          assert.match(text, /Compression: NONE/);
        });
      }

      it("is refused: RC4, 3DES, export, and every other suite outside the table, byte by byte", async () => {
        const port = portOf(server.urls[index]);
        const known = [0xc02b, 0xcca9, 0xc02c];
        assert.deepEqual(await chosenSuites(port, { version: 0x0303, suites: everySuite }), known);
        // RC4-MD5, RC4-SHA, 3DES, DES, export RC4, ECDHE with RC4 and with 3DES.
        for (const suite of [0x0004, 0x0005, 0x000a, 0x0009, 0x0003, 0xc007, 0xc008]) {
          const answer = await offer(port, { version: 0x0303, suites: [suite] });
          assert.deepEqual(answer, { kind: "alert", description: 40 }, suite.toString(16));
        }
        const compressed = await offer(port, { version: 0x0303, suites: known, compressions: [1] });
        assert.equal(compressed.kind, "alert");
      });

      it("offers X25519MLKEM768 first", async () => {
        const answer = await offer(portOf(server.urls[index]), { version: 0x0304, suites: [0x1301] });
        assert.equal(answer.kind === "server-hello" && answer.group, 0x11ec);
      });
    },
  );
}

describe("attack 04: renegotiation", { skip: skipWithout("openssl") }, () => {
  it("is refused to a client that asks for it, and MQTT goes on for who does not", async () => {
    const port = portOf(server.urls[0]);
    // s_client reads "R" as the command to renegotiate when it comes in a write of its own.
    const { text } = await run("openssl", ["s_client", "-connect", `127.0.0.1:${port}`, "-tls1_2"], "R\n");
    assert.match(text, /RENEGOTIATING/);
    assert.match(text, /no renegotiation/);
    const device = await secured(server.data, port, { maxVersion: "TLSv1.2" });
    const renegotiated = await new Promise<Error | null>((resolve) => {
      if (device.renegotiate({}, resolve) !== true) resolve(new Error("not even tried"));
      device.once("close", () => resolve(new Error("closed")));
    });
    assert.ok(renegotiated instanceof Error);
    device.destroy();
    const honest = await secured(server.data, port, { maxVersion: "TLSv1.2" });
    assert.equal(await connectMqtt(honest, "honest"), 0);
    honest.destroy();
  });
});
