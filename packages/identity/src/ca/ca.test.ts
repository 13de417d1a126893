import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { existsSync, readFileSync, readdirSync, rmSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, it } from "node:test";

import { decodeCertificate } from "@postern/pki/certificate";

import { CertificateAuthenticator } from "../authenticator.ts";
import { loadAuthority } from "../authority.ts";
import { RootKeyError } from "../errors.ts";
import { startInstallation, readCertificateBundle, temporaryDataDirectory } from "../testing.ts";
import { obtainRootCrl } from "../revocation/root-crl.ts";
import { renewIssuing } from "./renew-issuing.ts";
import { exportRoot, hasRootKey, readRootFile, readRootKey, removeRootKey } from "./root-file.ts";

const startMs = Date.UTC(2027, 0, 1);
const dayMs = 86_400_000;
const passphrase = "a sentence of many words";

async function prepare() {
  const temporary = temporaryDataDirectory();
  const { directory } = temporary;
  const installation = await startInstallation(directory, { nowMs: startMs });
  return {
    directory,
    installation,
    pki: directory.pki,
    file: join(directory.path, "root.pem"),
    [Symbol.dispose]: () => {
      installation.registry.close();
      temporary[Symbol.dispose]();
    },
  };
}

describe("the root's key", () => {
  it("is exported encrypted, read back, removed, and used from the file", async () => {
    using t = await prepare();
    const { authority } = t.installation;
    exportRoot(t.pki, authority, { file: t.file, passphrase });
    assert.equal(statSync(t.file).mode & 0o777, 0o600);
    assert.match(readFileSync(t.file, "utf8"), /^-----BEGIN CERTIFICATE-----[^]*BEGIN ENCRYPTED PRIVATE KEY/);
    const copy = readRootFile(t.file, passphrase, authority);
    assert.ok(copy.key.equals(readRootKey(t.pki, authority).key));
    removeRootKey(t.pki, authority, copy);
    assert.ok(!hasRootKey(t.pki) && !existsSync(join(t.pki, "root.key")));
    assert.throws(() => readRootKey(t.pki, authority), /is not on this machine/);
    assert.throws(() => exportRoot(t.pki, authority, { file: `${t.file}2`, passphrase }), RootKeyError);
    t.installation.registry.close();
    assert.ok(!(await startInstallation(t.directory, { nowMs: startMs })).created);
  });

  it("is not exported over another file, nor with a short passphrase, and nothing is left then", async () => {
    using t = await prepare();
    const { authority } = t.installation;
    writeFileSync(t.file, "mine");
    assert.throws(() => exportRoot(t.pki, authority, { file: t.file, passphrase }), /is there already/);
    assert.equal(readFileSync(t.file, "utf8"), "mine");
    assert.throws(
      () => exportRoot(t.pki, authority, { file: `${t.file}2`, passphrase: "short" }),
      /fewer than 12 characters/,
    );
    assert.throws(() => exportRoot(t.pki, authority, { file: join(t.file, "x"), passphrase }));
    assert.ok(!existsSync(`${t.file}2`));
  });

  it("stays when the file is damaged, another authority's, or the passphrase is wrong", async () => {
    using t = await prepare();
    using other = await prepare();
    const { authority } = t.installation;
    exportRoot(t.pki, authority, { file: t.file, passphrase });
    exportRoot(other.pki, other.installation.authority, { file: other.file, passphrase });
    const text = readFileSync(t.file, "utf8");
    const read = (changed: string, secret = passphrase): unknown => {
      writeFileSync(t.file, changed);
      return readRootFile(t.file, secret, authority);
    };
    assert.throws(() => read(text, "another sentence"), /passphrase is wrong, or the file is damaged/);
    assert.throws(() => read(readFileSync(other.file, "utf8")), /another authority's root/);
    assert.throws(() => read(""), /holds no certificate/);
    assert.throws(() => read(text.slice(0, -60)), RootKeyError);
    const foreignKey = readFileSync(other.file, "utf8").split("-----BEGIN ENCRYPTED")[1] ?? "";
    const mixed = `${text.split("-----BEGIN ENCRYPTED")[0] ?? ""}-----BEGIN ENCRYPTED${foreignKey}`;
    assert.throws(() => read(mixed), /not that of the certificate/);
    assert.throws(() => readRootFile(join(t.pki, "none"), passphrase, authority), /there is no file/);
    assert.ok(hasRootKey(t.pki));
  });
});

async function renewed(distrustOld: boolean) {
  const t = await prepare();
  const { authority, registry, firstBundle = "" } = t.installation;
  const bundle = readCertificateBundle(firstBundle);
  const root = readRootKey(t.pki, authority);
  const nowMs = startMs + dayMs;
  await renewIssuing({ pki: t.pki, authority, root, distrustOld, nowMs });
  const next = loadAuthority(t.pki, nowMs);
  const clock = { wallMs: () => nowMs, monotonicMs: () => 0 };
  const authenticator = new CertificateAuthenticator({ registry, issuers: () => next.issuers, clock });
  const certificate = decodeCertificate(bundle.certificate)?.x509.raw;
  return {
    ...t,
    before: authority,
    next,
    accepted: authenticator.authenticate({ peer: { certificate } }).kind,
  };
}

describe("the renewal of the issuing authority", () => {
  it("leaves the root as it is, and devices of the old one are let in until they end", async () => {
    using t = await renewed(false);
    assert.equal(t.next.root.fingerprint, t.before.root.fingerprint);
    assert.notEqual(t.next.issuing.fingerprint, t.before.issuing.fingerprint);
    assert.deepEqual(
      t.next.issuers.map(({ fingerprint }) => fingerprint),
      [t.next.issuing.fingerprint, t.before.issuing.fingerprint],
    );
    assert.ok(t.next.issuing.x509.verify(t.before.root.x509.publicKey));
    assert.equal(t.accepted, "accepted");
    t.installation.registry.close();
    const started = await startInstallation(t.directory, { nowMs: startMs + 2 * dayMs });
    assert.ok(started.server.renewed);
    assert.ok(started.server.certificate.x509.verify(t.next.issuing.x509.publicKey));
    started.registry.close();
  });

  it("can distrust all that the old one signed", async () => {
    using t = await renewed(true);
    assert.equal(t.next.issuers.length, 1);
    assert.equal(t.accepted, "refused");
    // Others learn it from the root's list, which openssl reads; and a later list still says so.
    const read = (nowMs: number): string => {
      const input = obtainRootCrl(t.pki, t.next, nowMs);
      return execFileSync("openssl", ["crl", "-noout", "-text"], { input, encoding: "utf8" });
    };
    const entry = new RegExp(`Serial Number: ${t.before.issuing.serialNumber}[^]*CA Compromise`);
    assert.match(read(startMs + dayMs), entry);
    assert.match(read(startMs + 300 * dayMs), entry);
    rmSync(join(t.pki, "root.key"));
    assert.match(read(startMs + 301 * dayMs), entry);
  });

  it("is completed by the next start when it was interrupted, at whatever step", async () => {
    using t = await renewed(false);
    const [key, crt] = ["issuing.key", "issuing.crt"].map((name) => readFileSync(join(t.pki, name), "utf8"));
    const oldCertificate = t.before.issuer.certificate;
    for (const [oldKey, oldCrt] of [
      [t.before.issuer.key, oldCertificate],
      [key ?? "", oldCertificate],
      [key ?? "", crt ?? ""],
    ]) {
      writeFileSync(join(t.pki, "issuing.key"), oldKey ?? "");
      writeFileSync(join(t.pki, "issuing.crt"), oldCrt ?? "");
      writeFileSync(join(t.pki, "issuing.next"), `${key ?? ""}${crt ?? ""}`, { mode: 0o600 });
      assert.equal(loadAuthority(t.pki, startMs + dayMs).issuing.fingerprint, t.next.issuing.fingerprint);
      assert.ok(!readdirSync(t.pki).includes("issuing.next"));
    }
  });

  it("trusts no file of another authority as a former one", async () => {
    using t = await renewed(false);
    using other = await prepare();
    const name = readdirSync(t.pki).find((entry) => entry.startsWith("issuing-")) ?? "";
    writeFileSync(join(t.pki, name), other.installation.authority.issuer.certificate);
    assert.equal(loadAuthority(t.pki, startMs + dayMs).issuers.length, 1);
    writeFileSync(join(t.pki, name), "junk");
    assert.throws(() => loadAuthority(t.pki, startMs + dayMs), /is damaged \(no certificate in it\)/);
    rmSync(join(t.pki, name));
    assert.equal(loadAuthority(t.pki, startMs + dayMs).issuers.length, 1);
  });
});
