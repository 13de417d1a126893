import assert from "node:assert/strict";
import { describe, it } from "node:test";

import { decodeCertificate } from "@postern/pki/certificate";
import { issueDevice, issueServer } from "@postern/pki/issue";

import { CertificateAuthenticator } from "./authenticator.ts";
import { newDevice, type Device } from "./device.ts";
import { readCertificateBundle, startInstallation, temporaryDataDirectory } from "./testing.ts";

const dayMs = 86_400_000;
const startMs = Date.UTC(2027, 0, 1);

async function prepare(cacheMax?: number) {
  const temporary = temporaryDataDirectory();
  const { authority, registry, firstBundle = "" } = await startInstallation(temporary.directory);
  const now = { ms: startMs };
  const calls = { issuers: 0 };
  const authenticator = new CertificateAuthenticator({
    registry,
    issuers: () => {
      calls.issuers += 1;
      return [authority.issuing];
    },
    clock: { wallMs: () => now.ms, monotonicMs: () => 0 },
    ...(cacheMax === undefined ? {} : { cacheMax }),
  });
  const bundle = readCertificateBundle(firstBundle);

  function authenticate(pem: string | undefined) {
    const certificate = pem === undefined ? undefined : decodeCertificate(pem)?.x509.raw;
    return authenticator.authenticate({ peer: { certificate } });
  }

  /** Enters a certificate in the registry under a device's name, whatever it says itself. */
  function register(pem: string, name: string): void {
    const { fingerprint, serialNumber, notAfterMs } = decodeCertificate(pem) ?? assert.fail();
    const certificates = [{ fingerprint, serialNumber, notAfter: new Date(notAfterMs).toISOString() }];
    registry.put({ ...newDevice({ name, tenant: "default" }, startMs), certificates });
  }

  return {
    authority,
    registry,
    authenticator,
    authenticate,
    register,
    bundle,
    now,
    calls,
    [Symbol.dispose]: () => temporary[Symbol.dispose](),
  };
}

const validity = { notBeforeMs: startMs - dayMs, notAfterMs: startMs + 10 * dayMs };

describe("certificate authenticator", () => {
  it("knows a device by its certificate", async () => {
    using t = await prepare();
    assert.deepEqual(t.authenticate(t.bundle.certificate), {
      kind: "accepted",
      identity: { name: "first-device", anonymous: false },
      untilMs: startMs + 30 * dayMs,
    });
  });

  it("refuses whoever presents nothing (MQTT 5.0 §3.2.2.2)", async () => {
    using t = await prepare();
    const nothing = t.authenticate(undefined);
    assert.ok(nothing.kind === "refused" && nothing.reasonCode === 0x87);
  });

  it("refuses a certificate that the registry does not know, even one of our authority", async () => {
    using t = await prepare();
    const issued = await issueDevice({
      tenant: "default",
      device: "first-device",
      validity,
      issuer: t.authority.issuer,
    });
    const result = t.authenticate(issued.certificate);
    assert.ok(result.kind === "refused" && result.reasonCode === 0x87);
    assert.match(result.reason, /no device has its certificate/);
  });

  it("refuses a known certificate of another purpose, another name or another authority", async () => {
    using t = await prepare();
    using other = await prepare();
    const server = await issueServer({ hosts: ["localhost"], validity, issuer: t.authority.issuer });
    const named = await issueDevice({ tenant: "default", device: "b", validity, issuer: t.authority.issuer });
    const tenant = await issueDevice({ tenant: "other", device: "a", validity, issuer: t.authority.issuer });
    const foreign = await issueDevice({
      tenant: "default",
      device: "a",
      validity,
      issuer: other.authority.issuer,
    });
    for (const [pair, reason] of [
      [server, /names another device/],
      [named, /names another device/],
      [tenant, /names another device/],
      [foreign, /not issued by our/],
    ] as const) {
      t.register(pair.certificate, "a");
      const result = t.authenticate(pair.certificate);
      assert.ok(result.kind === "refused");
      assert.match(result.reason, reason);
    }
  });

  it("refuses a certificate outside its validity, also when it was verified before", async () => {
    using t = await prepare();
    const issued = await issueDevice({
      tenant: "default",
      device: "a",
      validity,
      issuer: t.authority.issuer,
    });
    t.register(issued.certificate, "a");
    assert.equal(t.authenticate(issued.certificate).kind, "accepted");
    t.now.ms = validity.notAfterMs + 1000;
    assert.equal(t.authenticate(issued.certificate).kind, "refused");
    t.now.ms = validity.notAfterMs - 1000;
    assert.equal(t.authenticate(issued.certificate).kind, "accepted");
  });

  it("refuses a removed device at once, also when its certificate was verified before", async () => {
    using t = await prepare();
    assert.equal(t.authenticate(t.bundle.certificate).kind, "accepted");
    const device: Device = t.registry.find("first-device") ?? assert.fail();
    t.registry.put({ ...device, removed: new Date(startMs).toISOString() });
    assert.equal(t.authenticate(t.bundle.certificate).kind, "refused");
  });

  it("refuses a revoked device, a revoked certificate and one whose overlap is over, at once", async () => {
    using t = await prepare();
    const at = new Date(startMs).toISOString();
    const device: Device = t.registry.find("first-device") ?? assert.fail();
    const marked = (mark: object): Device => ({
      ...device,
      certificates: device.certificates.map((certificate) => ({ ...certificate, ...mark })),
    });
    const revoked = { at, reason: "keyCompromise" } as const;
    const cases: readonly (readonly [Device, RegExp | undefined])[] = [
      [{ ...device, revoked }, /the device was revoked at .* \(keyCompromise\)/],
      [marked({ revoked }), /it was revoked at .* \(keyCompromise\)/],
      [marked({ ends: at }), /it was replaced, and ended at/],
      [marked({ ends: new Date(startMs + 1).toISOString() }), undefined],
      [device, undefined],
    ];
    for (const [changed, reason] of cases) {
      t.registry.put(changed);
      const result = t.authenticate(t.bundle.certificate);
      assert.equal(result.kind, reason === undefined ? "accepted" : "refused");
      if (result.kind === "refused" && reason !== undefined) assert.match(result.reason, reason);
    }
  });

  it("remembers what it verified, within its bound", async () => {
    using t = await prepare(2);
    const pems: string[] = [];
    for (const device of ["a", "b", "c"]) {
      const issued = await issueDevice({ tenant: "default", device, validity, issuer: t.authority.issuer });
      t.register(issued.certificate, device);
      pems.push(issued.certificate);
    }
    const [a, b, c] = pems;
    for (const pem of [a, a, b, a, b]) assert.equal(t.authenticate(pem).kind, "accepted");
    assert.equal(t.calls.issuers, 2);
    t.authenticate(c);
    t.authenticate(a);
    assert.equal(t.calls.issuers, 4);
    t.authenticator.clearCache();
    t.authenticate(a);
    assert.equal(t.calls.issuers, 5);
  });

  it("refuses bytes that are no certificate", async () => {
    using t = await prepare();
    const result = t.authenticator.authenticate({
      peer: { certificate: new Uint8Array([1]) },
    });
    assert.equal(result.kind, "refused");
  });
});
