import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import type { ConnectionOptions, TLSSocket } from "node:tls";

import { configured } from "../support/configurations.ts";
import { skipWithout } from "../support/programs.ts";
import { scratch, up, type Scratch, type TestServer } from "../support/postern.ts";
import { connectMqtt, portOf, secured } from "../support/raw.ts";
import { run } from "../support/run.ts";

const config = `
listeners:
  - url: mqtts://127.0.0.1:0
    tls: { sessionResumption: true, sessionSeconds: 600 }
  - url: mqtts://127.0.0.1:0
    name: without
metrics: { url: off }
`;

const notAuthorized = 0x87;

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

/** A session that can be taken up, and what CONNECT came to on the connection that brought it. */
async function visit(
  index: number,
  options: ConnectionOptions & { readonly withCertificate?: boolean },
): Promise<{
  readonly code: number | undefined;
  readonly reused: boolean;
  readonly session: Buffer | undefined;
}> {
  const socket: TLSSocket = await secured(server.data, portOf(server.urls[index]), options);
  let session: Buffer | undefined = socket.getSession();
  socket.on("session", (fresh: Buffer) => (session = fresh));
  const reused = socket.isSessionReused();
  const code = await connectMqtt(socket, `c-${Math.random()}`);
  await new Promise((resolve) => setTimeout(resolve, 20));
  socket.destroy();
  return { code, reused, session };
}

for (const version of ["TLSv1.2", "TLSv1.3"] as const) {
  const only = { minVersion: version, maxVersion: version };

  describe(`attack 08: a TLS session resumed without a client certificate (${version})`, () => {
    it("is not taken for a proof, whatever TLS says of it", async () => {
      const first = await visit(0, { ...only, withCertificate: false });
      assert.equal(first.code, notAuthorized);
      const second = await visit(0, { ...only, withCertificate: false, session: first.session });
      assert.equal(second.reused, true);
      assert.equal(second.code, notAuthorized);
    });

    it("is a proof again for the device whose certificate is in it, where the listener resumes", async () => {
      const first = await visit(0, only);
      assert.equal(first.code, 0);
      const second = await visit(0, { ...only, session: first.session });
      assert.deepEqual([second.reused, second.code], [true, 0]);
      const there = await visit(1, { ...only, session: first.session });
      assert.deepEqual([there.reused, there.code], [false, 0], "the other listener resumes nothing");
    });
  });
}

describe(
  "attack 08: a pre-shared key on a listener for certificates",
  { skip: skipWithout("openssl") },
  () => {
    for (const version of ["-tls1_2", "-tls1_3"]) {
      it(`proves nothing and is not even taken up (${version})`, async () => {
        const { text } = await run("openssl", [
          "s_client",
          "-connect",
          `127.0.0.1:${portOf(server.urls[0])}`,
          version,
          "-psk_identity",
          "first-device",
          "-psk",
          "00".repeat(16),
        ]);
        // In TLS 1.3 the client falls back to the server's certificate; in TLS 1.2 there is nothing to agree on.
        assert.doesNotMatch(text, /Reused|Cipher is ECDHE-PSK/);
        if (version === "-tls1_2") assert.match(text, /Cipher is ECDHE-ECDSA/);
      });
    }
  },
);
