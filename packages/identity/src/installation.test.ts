import assert from "node:assert/strict";
import { chmodSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, it } from "node:test";

import { answersFor, decodeCertificate } from "@postern/pki/certificate";

import { ClockError, PkiFileError } from "./errors.ts";
import { readCertificateBundle, startInstallation, temporaryDataDirectory } from "./testing.ts";

const dayMs = 86_400_000;
const startMs = Date.UTC(2027, 0, 1);

function mode(path: string): number {
  return statSync(path).mode & 0o777;
}

describe("installation", () => {
  it("makes an authority, a server certificate and one device with its bundle at the first start", async () => {
    using temporary = temporaryDataDirectory();
    const { directory } = temporary;
    const installation = await startInstallation(directory);
    assert.ok(installation.created && installation.server.renewed);
    assert.ok(answersFor(installation.server.certificate, "127.0.0.1"));
    const { firstBundle } = installation;
    assert.ok(firstBundle !== undefined);
    const bundle = readCertificateBundle(firstBundle);
    const fingerprint = decodeCertificate(bundle.certificate)?.fingerprint ?? "";
    assert.equal(installation.registry.findByFingerprint(fingerprint)?.device.name, "first-device");
    assert.equal(bundle.ca, installation.authority.rootPem);
    assert.deepEqual(bundle.servers, [{ url: "mqtts://127.0.0.1:8883" }]);
  });

  it("lets nobody but the owner into directories and files", async () => {
    using temporary = temporaryDataDirectory();
    const { directory } = temporary;
    await startInstallation(directory);
    for (const path of [
      directory.path,
      directory.pki,
      directory.bundles,
      directory.state,
      directory.audit,
      directory.run,
    ]) {
      assert.equal(mode(path), 0o700, path);
    }
    for (const name of ["root.key", "issuing.key", "server.pem", "devices.jsonl"]) {
      assert.equal(mode(join(directory.pki, name)), 0o600, name);
    }
    assert.equal(mode(join(directory.bundles, "first-device.json")), 0o600);
  });

  it("reuses everything at the next start", async () => {
    using temporary = temporaryDataDirectory();
    const { directory } = temporary;
    const first = await startInstallation(directory);
    const bundle = readFileSync(first.firstBundle ?? "", "utf8");
    const second = await startInstallation(directory, { nowMs: startMs + dayMs });
    assert.ok(!second.created && !second.server.renewed);
    assert.equal(second.authority.root.fingerprint, first.authority.root.fingerprint);
    assert.equal(second.server.certificate.fingerprint, first.server.certificate.fingerprint);
    assert.equal(readFileSync(second.firstBundle ?? "", "utf8"), bundle);
    assert.equal(second.registry.count, 1);
  });

  it("renews the server's certificate after two thirds of its validity, and for a new address", async () => {
    using temporary = temporaryDataDirectory();
    const { directory } = temporary;
    const first = await startInstallation(directory);
    assert.ok(!(await startInstallation(directory, { nowMs: startMs + 59 * dayMs })).server.renewed);
    const later = await startInstallation(directory, { nowMs: startMs + 61 * dayMs });
    assert.ok(later.server.renewed);
    assert.notEqual(later.server.certificate.fingerprint, first.server.certificate.fingerprint);
    const moved = await startInstallation(directory, {
      nowMs: startMs + 61 * dayMs,
      hosts: ["localhost", "broker.example.org"],
    });
    assert.ok(moved.server.renewed && answersFor(moved.server.certificate, "broker.example.org"));
  });

  it("replaces a server certificate that is damaged", async () => {
    using temporary = temporaryDataDirectory();
    const { directory } = temporary;
    await startInstallation(directory);
    const path = join(directory.pki, "server.pem");
    for (const text of [
      "",
      readFileSync(path, "utf8").slice(0, 400),
      "-----BEGIN CERTIFICATE-----\nAAAA\n",
    ]) {
      writeFileSync(path, text);
      assert.ok((await startInstallation(directory)).server.renewed);
    }
  });

  it("gives bundles the addresses of today and, when due, a new certificate beside the old one", async () => {
    using temporary = temporaryDataDirectory();
    const { directory } = temporary;
    const first = await startInstallation(directory);
    const path = first.firstBundle ?? "";
    const old = readCertificateBundle(path);
    await startInstallation(directory, { servers: [{ url: "mqtts://127.0.0.1:18883" }] });
    const moved = readCertificateBundle(path);
    assert.deepEqual(moved, { ...old, servers: [{ url: "mqtts://127.0.0.1:18883" }] });

    const { registry } = await startInstallation(directory, { nowMs: startMs + 21 * dayMs });
    const renewed = readCertificateBundle(path);
    assert.notEqual(renewed.key, old.key);
    for (const { certificate } of [old, renewed]) {
      assert.equal(
        registry.findByFingerprint(decodeCertificate(certificate)?.fingerprint ?? "")?.device.name,
        "first-device",
      );
    }
  });

  it("renews no bundle whose certificate was revoked, and keeps what else is in one that it renews", async () => {
    using temporary = temporaryDataDirectory();
    const { directory } = temporary;
    const first = await startInstallation(directory);
    const path = first.firstBundle ?? "";
    const old = { ...readCertificateBundle(path), token: "a.b.c" };
    writeFileSync(path, JSON.stringify(old), { mode: 0o600 });
    const renewed = { nowMs: startMs + 21 * dayMs };
    const { registry } = await startInstallation(directory, renewed);
    const fresh = readCertificateBundle(path);
    assert.notEqual(fresh.certificate, old.certificate);
    assert.equal(fresh.token, "a.b.c");
    registry.change("first-device", (device) => ({
      ...device,
      certificates: device.certificates.map((entry) =>
        Object.assign({}, entry, { revoked: { at: new Date(startMs).toISOString(), reason: "superseded" } }),
      ),
    }));
    registry.close();
    await startInstallation(directory, { nowMs: startMs + 45 * dayMs });
    assert.deepEqual(readCertificateBundle(path), fresh);
  });

  it("does not make a bundle again that was moved to its device", async () => {
    using temporary = temporaryDataDirectory();
    const { directory } = temporary;
    const { firstBundle } = await startInstallation(directory);
    renameSync(firstBundle ?? "", join(directory.path, "elsewhere.json"));
    const second = await startInstallation(directory);
    assert.equal(second.firstBundle, undefined);
    assert.equal(second.registry.count, 1);
  });

  it("makes no bundle while the server has no address with TLS", async () => {
    using temporary = temporaryDataDirectory();
    const { directory } = temporary;
    assert.equal((await startInstallation(directory, { servers: [] })).firstBundle, undefined);
    assert.ok((await startInstallation(directory)).firstBundle !== undefined);
  });

  it("starts without the root's key, which may be kept elsewhere", async () => {
    using temporary = temporaryDataDirectory();
    const { directory } = temporary;
    await startInstallation(directory);
    rmSync(join(directory.pki, "root.key"));
    assert.ok(!(await startInstallation(directory)).created);
  });

  it("refuses an authority that is incomplete, damaged or open to others, naming file and mend", async () => {
    const damages: readonly (readonly [string, (path: string) => void, RegExp])[] = [
      [
        "issuing.key",
        (path) => rmSync(path),
        /issuing\.key, the key of the certificate authority, is missing: put it back/,
      ],
      [
        "issuing.key",
        (path) => writeFileSync(path, "junk"),
        /issuing\.key is damaged or not the key of issuing\.crt/,
      ],
      [
        "issuing.key",
        (path) => chmodSync(path, 0o640),
        /open to other users \(mode 0640\): run chmod 600 .*issuing\.key$/,
      ],
      [
        "root.key",
        (path) => chmodSync(path, 0o604),
        /open to other users \(mode 0604\): run chmod 600 .*root\.key$/,
      ],
      ["server.pem", (path) => chmodSync(path, 0o644), /open to other users/],
      ["root.crt", (path) => rmSync(path), /root\.crt, a certificate of the authority, is missing/],
      [
        "issuing.crt",
        (path) => writeFileSync(path, "junk"),
        /issuing\.crt is damaged \(no certificate in it\)/,
      ],
      [
        "devices.jsonl",
        (path) => writeFileSync(path, "{"),
        /devices\.jsonl, the list of devices, is damaged in line 1/,
      ],
      ["devices.jsonl", (path) => chmodSync(path, 0o644), /open to other users/],
      [
        "devices.jsonl",
        (path) => rmSync(path),
        /devices\.jsonl, the list of devices and of what was revoked, is missing: put it back from a backup/,
      ],
    ];
    for (const [name, damage, message] of damages) {
      using temporary = temporaryDataDirectory();
      const { directory } = temporary;
      await startInstallation(directory);
      damage(join(directory.pki, name));
      await assert.rejects(startInstallation(directory), (thrown) => {
        assert.ok(thrown instanceof PkiFileError, String(thrown));
        assert.match(thrown.message, message);
        return true;
      });
    }
  });

  it("refuses an authority whose certificates do not belong together", async () => {
    using temporary = temporaryDataDirectory();
    using other = temporaryDataDirectory();
    await startInstallation(temporary.directory);
    await startInstallation(other.directory);
    renameSync(join(other.directory.pki, "root.crt"), join(temporary.directory.pki, "root.crt"));
    await assert.rejects(startInstallation(temporary.directory), /issuing\.crt was not issued by root\.crt/);
  });

  it("refuses a clock that was never set, that is before the authority's time, or after it", async () => {
    using temporary = temporaryDataDirectory();
    const { directory } = temporary;
    await assert.rejects(startInstallation(directory, { nowMs: Date.UTC(1970, 0, 1) }), ClockError);
    await startInstallation(directory);
    await assert.rejects(
      startInstallation(directory, { nowMs: startMs - dayMs }),
      /before this server's certificate authority was made \(2026-12-31T23:00:00Z\)/,
    );
    await assert.rejects(
      startInstallation(directory, { nowMs: startMs + 3_651 * dayMs }),
      /expired at .*: set the clock/,
    );
  });
});
