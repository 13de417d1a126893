import assert from "node:assert/strict";
import { createSecureContext, getCiphers } from "node:tls";
import { after, describe, it } from "node:test";

import { MemorySessionStore } from "@postern/store/memory-session-store";

import type { RunningListener } from "../src/listeners/listener.ts";
import { tlsGroups, tlsSignatures, tlsSuites, withPolicy } from "../src/listeners/tls-policy.ts";
import { chosenSuites, everySuite, offer } from "../src/testing/client-hello.ts";
import { openBroker } from "../src/testing/open-broker.ts";
import { selfSigned } from "./support/self-signed.ts";

const opened = openBroker({ store: new MemorySessionStore() });
after(() => opened.broker.close());

async function listen(pem: string, name: string): Promise<RunningListener> {
  const context = { cert: pem, key: pem };
  return opened.broker.listen({
    name,
    kind: "mqtts",
    host: "127.0.0.1",
    port: 0,
    anonymous: true,
    confidential: true,
    limits: {},
    tls: () => ({ context, requestCertificate: true }),
  });
}

const everySuite13 = [0x1301, 0x1302, 0x1303, 0x1304, 0x1305];
const handshakeFailure = 40;

describe("the TLS policy", () => {
  it("names only what this runtime knows, and no suite without an ephemeral key exchange and an AEAD", () => {
    const all = [...tlsSuites["1.3"], ...tlsSuites["1.2"].certificate, ...tlsSuites["1.2"].psk];
    const known = new Set(getCiphers().map((name) => name.toUpperCase()));
    for (const suite of all) {
      assert.ok(known.has(suite), suite);
      assert.match(suite, /^(TLS_|ECDHE-).*(GCM|CHACHA20)/);
    }
    createSecureContext(withPolicy({}, { proof: "certificate", tickets: false }));
    createSecureContext(withPolicy({}, { proof: "psk", tickets: false }));
    assert.equal(tlsGroups[0], "X25519MLKEM768");
    assert.ok(!tlsSignatures.some((name) => /sha1|dsa_sha/.test(name) && !name.startsWith("ecdsa")));
  });

  it("goes over what whoever brings the certificate asks for", () => {
    const { minVersion, ciphers, ecdhCurve } = withPolicy(
      { minVersion: "TLSv1", ciphers: "ALL:@SECLEVEL=0", ecdhCurve: "secp521r1" },
      { proof: "certificate", tickets: false },
    );
    assert.equal(minVersion, "TLSv1.2");
    assert.doesNotMatch(`${ciphers} ${ecdhCurve}`, /ALL|LEVEL=0|521/);
  });

  const certificates = [
    {
      name: "ECDSA",
      pem: selfSigned(),
      suites: [0xc02b, 0xcca9, 0xc02c],
    },
    { name: "RSA", pem: selfSigned("rsa:2048"), suites: [0xc02f, 0xcca8, 0xc030] },
  ];
  for (const { name, pem, suites } of certificates) {
    describe(`with a certificate of ${name}`, () => {
      it("chooses in TLS 1.2 of all suites that there ever were only those of the table, in its order", async () => {
        const { port } = await listen(pem, `${name} 1.2`);
        assert.deepEqual(await chosenSuites(port, { version: 0x0303, suites: everySuite }), suites);
        const reversed = everySuite.toReversed();
        const answer = await offer(port, {
          version: 0x0303,
          suites: reversed.filter((suite) => suite < 0xcc00),
        });
        assert.equal(answer.kind === "server-hello" && answer.suite, suites[0], "the server's order counts");
        const chacha = suites[1] ?? 0;
        const preferring = await offer(port, { version: 0x0303, suites: [chacha, ...suites] });
        assert.equal(
          preferring.kind === "server-hello" && preferring.suite,
          chacha,
          "ChaCha20 for who prefers it",
        );
      });

      it("chooses in TLS 1.3 the AEADs with full tags, and the hybrid group first", async () => {
        const { port } = await listen(pem, `${name} 1.3`);
        const hello = { version: 0x0304, suites: everySuite13 };
        assert.deepEqual(await chosenSuites(port, hello), [0x1301, 0x1303, 0x1302]);
        const group = async (groups: readonly number[]) => {
          const answer = await offer(port, { ...hello, groups });
          return answer.kind === "server-hello" ? answer.group : answer;
        };
        assert.equal(await group([0x001d, 0x0017, 0x11ec]), 0x11ec);
        assert.equal(await group([0x0018, 0x0017, 0x001d]), 0x001d);
        assert.deepEqual(await group([0x0019, 0x0100]), { kind: "alert", description: handshakeFailure });
      });

      it("knows no version before 1.2, and no compression", async () => {
        const { port } = await listen(pem, `${name} old`);
        for (const version of [0x0300, 0x0301, 0x0302]) {
          const answer = await offer(port, { version, suites: everySuite });
          assert.equal(answer.kind, "alert", version.toString(16));
        }
        const answer = await offer(port, { version: 0x0303, suites, compressions: [1, 0] });
        assert.equal(answer.kind === "server-hello" && answer.compression, 0);
        const { kind } = await offer(port, { version: 0x0303, suites, compressions: [1] });
        assert.equal(kind, "alert");
      });
    });
  }
});
