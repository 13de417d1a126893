import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { once } from "node:events";
import { existsSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, it } from "node:test";
import { connect } from "node:tls";

import { readCertificateBundle } from "@postern/identity/testing";
import { issueIntermediate, issueRoot, issueServer, type KeyPair } from "@postern/pki/issue";
import { connectAsync, type IClientOptions } from "mqtt";

import { configured, tlsOnly } from "./support/configurations.ts";
import { firstBundle, command, scratch, up, type TestServer } from "./support/postern.ts";

const dayMs = 86_400_000;

async function run(...args: string[]): Promise<string> {
  const { code, stdout, stderr } = await command(args);
  assert.equal(code, 0, stderr);
  return stdout;
}

function clientOptions(path: string): IClientOptions {
  const { ca, certificate: cert, key } = readCertificateBundle(path);
  return { ca, cert, key, protocolVersion: 5, reconnectPeriod: 0 };
}

/** SHA-256 of the certificate that the server shows. */
async function shown(server: TestServer, ca: string): Promise<string> {
  const socket = connect({ host: "127.0.0.1", port: Number(new URL(server.urls[0] ?? "").port), ca });
  await once(socket, "secureConnect");
  const { fingerprint256 } = socket.getPeerCertificate();
  socket.destroy();
  return fingerprint256;
}

describe("postern ca", () => {
  it("exports the root, removes it, and renews the issuing authority of a running server from the file", async () => {
    using directory = scratch();
    const args = configured(directory.path, tlsOnly);
    await using server = await up(args);
    const [url = ""] = server.urls;
    const old = join(server.data, "bundles", "first-device.json");
    const { ca } = firstBundle(server.data);
    const [file, secret] = [join(directory.path, "root.pem"), join(directory.path, "passphrase")];
    writeFileSync(secret, "a sentence of many words\n", { mode: 0o600 });
    const withSecret = ["--passphrase-file", secret, ...args];

    assert.match(await run("ca", "show", ...args), /its key is on this machine/);
    const refused = await command(["ca", "export-root", file, ...args]);
    assert.deepEqual([refused.code, existsSync(file)], [2, false]);
    assert.match(refused.stderr, /say with --passphrase-file FILE/);
    const exported = await run("ca", "export-root", file, "--remove", ...withSecret);
    assert.doesNotMatch(exported, /PRIVATE KEY|many words/);
    assert.ok(!existsSync(join(server.data, "pki", "root.key")));
    assert.match(await run("ca", "show", ...args), /its key is not on this machine/);
    const pem = execFileSync("openssl", ["pkey", "-in", file, "-passin", `file:${secret}`, "-pubout"], {
      encoding: "utf8",
    });
    assert.equal(
      pem,
      execFileSync("openssl", ["x509", "-in", join(server.data, "pki", "root.crt"), "-noout", "-pubkey"], {
        encoding: "utf8",
      }),
    );

    const without = await command(["ca", "renew-issuing", ...args]);
    assert.equal(without.code, 1);
    assert.match(without.stderr, /the root's key is not on this machine: name the file it was exported to/);
    const live = await connectAsync(url, clientOptions(old));
    const before = await shown(server, ca);
    assert.match(
      await run("ca", "renew-issuing", "--root", file, ...withSecret),
      /the running server uses it/,
    );
    assert.notEqual(await shown(server, ca), before);
    await live.publishAsync("devices/first-device/still", "here", { qos: 1 });
    // The device's certificate is of the old authority.
    await (await connectAsync(url, clientOptions(old))).endAsync();
    await run("device", "add", "lamp", ...args);
    await (await connectAsync(url, clientOptions(join(server.data, "bundles", "lamp.json")))).endAsync();
    await live.endAsync();
    assert.match(await run("ca", "show", ...args), /^former issuing/m);
  });
});

interface Foreign {
  readonly root: KeyPair;
  readonly issuing: KeyPair;
  server(): Promise<KeyPair>;
}

async function foreignAuthority(): Promise<Foreign> {
  const validity = { notBeforeMs: Date.now() - dayMs, notAfterMs: Date.now() + 30 * dayMs };
  const root = await issueRoot({ commonName: "Other root", validity });
  const issuing = await issueIntermediate({ commonName: "Other issuing", validity, issuer: root });
  return { root, issuing, server: () => issueServer({ hosts: ["127.0.0.1"], validity, issuer: issuing }) };
}

describe("a server certificate of another authority", () => {
  it("is shown, stands in bundles, and is exchanged when its files change, without dropping a connection", async () => {
    using directory = scratch();
    const foreign = await foreignAuthority();
    const file = (name: string): string => join(directory.path, name);
    // As certbot and cert-manager do it: written aside, then moved into place.
    const put = (name: string, text: string): void => {
      writeFileSync(file(`${name}.new`), text, { mode: 0o600 });
      renameSync(file(`${name}.new`), file(name));
    };
    const install = ({ certificate, key }: KeyPair): void => {
      put("server.crt", certificate + foreign.issuing.certificate);
      put("server.key", key);
    };
    put("ca.crt", foreign.root.certificate);
    install(await foreign.server());
    const config = `${tlsOnly}tls: { certificate: server.crt, key: server.key, ca: ca.crt }\n`;
    const args = configured(directory.path, config);
    await using server = await up(args);
    const [url = ""] = server.urls;
    const bundle = join(server.data, "bundles", "first-device.json");
    assert.equal(readCertificateBundle(bundle).ca, foreign.root.certificate);
    const before = await shown(server, foreign.root.certificate);
    const live = await connectAsync(url, clientOptions(bundle));

    // A key that does not fit yet: whoever looks in between goes on with what there is.
    const next = await foreign.server();
    put("server.key", next.key);
    await server.process.until(/certificates could not be read again; the old ones stay/);
    assert.equal(await shown(server, foreign.root.certificate), before);
    install(next);
    await server.process.until(/the server has a new certificate/);
    assert.notEqual(await shown(server, foreign.root.certificate), before);
    await live.publishAsync("devices/first-device/still", "here", { qos: 1 });
    await live.endAsync();
    await run("device", "add", "lamp", ...args);
    const lamp = join(server.data, "bundles", "lamp.json");
    assert.equal(readCertificateBundle(lamp).ca, foreign.root.certificate);
    await (await connectAsync(url, clientOptions(lamp))).endAsync();
  });

  it("stops the start when the files cannot be used, naming them", async () => {
    using directory = scratch();
    const foreign = await foreignAuthority();
    const other = await foreignAuthority();
    const { certificate, key } = await foreign.server();
    const chain = certificate + foreign.issuing.certificate;
    const cases: readonly (readonly [string, string, string, RegExp])[] = [
      [
        chain,
        other.root.certificate.replace(/CERT/g, "CART"),
        key,
        /ca\.crt holds no certificate of an authority/,
      ],
      [chain, other.root.certificate, key, /does not lead to the authority in .*ca\.crt/],
      [certificate, foreign.root.certificate, key, /put the certificates between them into the same file/],
      [
        chain,
        foreign.root.certificate,
        (await foreign.server()).key,
        /server\.key is not the key of the certificate/,
      ],
      ["junk", foreign.root.certificate, key, /server\.crt holds no certificate/],
    ];
    const args = configured(
      directory.path,
      `${tlsOnly}tls: { certificate: server.crt, key: server.key, ca: ca.crt }\n`,
    );
    for (const [crt, ca, secret, message] of cases) {
      writeFileSync(join(directory.path, "server.crt"), crt);
      writeFileSync(join(directory.path, "ca.crt"), ca);
      writeFileSync(join(directory.path, "server.key"), secret, { mode: 0o600 });
      const ended = await command(["up", ...args]);
      assert.equal(ended.code, 1, ended.stderr);
      assert.match(ended.stderr, message);
    }
    writeFileSync(join(directory.path, "config.yaml"), `${tlsOnly}tls: { certificate: server.crt }\n`);
    const half = await command(["up", ...args]);
    assert.equal(half.code, 2);
    assert.match(half.stderr, /tls\.certificate, tls\.key and tls\.ca go together/);
    assert.ok(readFileSync(join(directory.path, "config.yaml")).length > 0);
  });
});
