import assert from "node:assert/strict";
import { rmSync } from "node:fs";
import { join } from "node:path";
import { describe, it } from "node:test";

import { decodeCertificateFields, type CertificateFields } from "@postern/pki/certificate-fields";
import { decodeCertificate } from "@postern/pki/certificate";
import { decodeCrl } from "@postern/pki/crl/decode";
import { verifyCrl } from "@postern/pki/crl/verify";
import { encodeOcspRequest } from "@postern/pki/ocsp/request";
import { verifyOcspResponse } from "@postern/pki/ocsp/verify";

import { startInstallation, temporaryDataDirectory } from "../testing.ts";
import { revocationsOf, statusOf } from "./certificate-status.ts";
import { CrlPublisher } from "./crl-publisher.ts";
import { OcspResponder } from "./ocsp-responder.ts";
import { obtainOcspSigner } from "./responder-certificate.ts";
import { obtainRootCrl } from "./root-crl.ts";

const startMs = Date.UTC(2027, 0, 1);
const hourMs = 3_600_000;
const dayMs = 24 * hourMs;

function fieldsOf(raw: Uint8Array): CertificateFields {
  const decoded = decodeCertificateFields(raw);
  if (decoded.kind === "malformed") assert.fail(decoded.reason);
  return decoded.value;
}

async function prepare() {
  const temporary = temporaryDataDirectory();
  const { directory } = temporary;
  const { authority, registry } = await startInstallation(directory);
  const [device = assert.fail()] = registry.all();
  const [certificate = assert.fail()] = device.certificates;
  const now = { ms: startMs, monotonicMs: 0 };
  const clock = { wallMs: () => now.ms, monotonicMs: () => now.monotonicMs };
  const issuer = fieldsOf(authority.issuing.x509.raw);
  const issuing = { certificate: authority.issuing, issuer: authority.issuer };
  const signer = await obtainOcspSigner(join(directory.pki, "ocsp.pem"), issuing, startMs);
  const publisher = () =>
    new CrlPublisher({
      path: join(directory.pki, "issuing.crl"),
      clock,
      issuer,
      key: authority.issuer.key,
      url: undefined,
      revocations: (nowMs) => revocationsOf(registry, nowMs),
    });
  const responder = new OcspResponder({
    clock,
    authorities: () => [{ issuer, signer }],
    statusOf: (serial, nowMs) => statusOf(registry, serial, nowMs),
  });
  const { serialNumber } = certificate;
  const ask = (nonce?: Uint8Array, serial = serialNumber) =>
    responder.answer(encodeOcspRequest({ serialNumber: serial, issuer, nonce }));
  const verify = (response: Uint8Array, nonce?: Uint8Array, serial = serialNumber) =>
    verifyOcspResponse({
      response,
      serialNumber: serial,
      issuer,
      nonce,
      nonceRequired: nonce !== undefined,
      nowMs: now.ms,
    });
  const change = (what: Partial<typeof device>) =>
    registry.change(device.name, (was) => ({ ...was, ...what }));
  return {
    directory,
    authority,
    registry,
    certificate,
    now,
    issuer,
    publisher,
    responder,
    serialNumber,
    ask,
    verify,
    change,
    signer,
    [Symbol.dispose]: () => {
      registry.close();
      temporary[Symbol.dispose]();
    },
  };
}

const at = new Date(startMs - hourMs).toISOString();

describe("status of our certificates", () => {
  it("is that of the certificate, of its device, and of the time", async () => {
    using set = await prepare();
    const { registry, certificate, serialNumber, change } = set;
    const status = () => statusOf(registry, serialNumber, startMs);
    const listed = () => [...revocationsOf(registry, startMs)].map(({ reason }) => reason);
    assert.deepEqual(status(), { kind: "good" });
    assert.deepEqual(statusOf(registry, "47110815", startMs), { kind: "unknown" });
    assert.deepEqual(listed(), []);
    const revoked = { at, reason: "keyCompromise" } as const;
    change({ certificates: [{ ...certificate, revoked }] });
    assert.deepEqual(status(), { kind: "revoked", serialNumber, revokedAtMs: startMs - hourMs, reason: 1 });
    change({ certificates: [certificate], revoked: { at, reason: "privilegeWithdrawn" } });
    assert.deepEqual(listed(), [9]);
    change({ revoked: undefined, removed: at });
    assert.deepEqual(listed(), [5]);
    change({ removed: undefined, certificates: [{ ...certificate, ends: at }] });
    assert.deepEqual(listed(), [4]);
    const soon = new Date(startMs + 1).toISOString();
    change({ certificates: [{ ...certificate, ends: soon }] });
    assert.deepEqual([status().kind, listed()], ["good", []]);
    assert.deepEqual([...revocationsOf(registry, startMs + 1)].length, 1);
    // A certificate that is long over need not be listed.
    const endMs = Date.parse(certificate.notAfter);
    assert.deepEqual([...revocationsOf(registry, endMs + 2 * dayMs)], []);
  });
});

describe("CRL of the issuing authority", () => {
  it("is made anew each hour and at once after a change, with a number that only grows", async () => {
    using set = await prepare();
    const { now, issuer, serialNumber, change, directory } = set;
    const publisher = set.publisher();
    const read = () => {
      const decoded = decodeCrl(publisher.current().der);
      if (decoded.kind === "malformed") assert.fail(decoded.reason);
      assert.equal(verifyCrl({ crl: decoded.value, issuer, nowMs: now.ms }).kind, "valid");
      return { number: Number.parseInt(decoded.value.number ?? "", 16), crl: decoded.value };
    };
    const first = read();
    assert.equal(first.crl.nextUpdateMs, startMs + dayMs);
    assert.equal(read().number, first.number);
    assert.equal(first.crl.find(serialNumber), undefined);
    change({ revoked: { at, reason: "keyCompromise" } });
    publisher.invalidate();
    const second = read();
    assert.ok(second.number > first.number);
    assert.deepEqual(second.crl.find(serialNumber), { revokedAtMs: startMs - hourMs, reason: 1 });
    now.ms += hourMs - 1;
    assert.equal(read().number, second.number);
    now.ms += 1;
    const third = read();
    assert.ok(third.number > second.number);
    // A start with a clock that was set back does not use a number again, nor one without the file.
    now.ms = startMs - 10 * dayMs;
    const again = decodeCrl(set.publisher().current().der);
    assert.ok(again.kind === "value" && Number.parseInt(again.value.number ?? "", 16) > third.number);
    now.ms = startMs + dayMs;
    rmSync(join(directory.pki, "issuing.crl"));
    const without = decodeCrl(set.publisher().current().der);
    assert.ok(without.kind === "value" && Number.parseInt(without.value.number ?? "", 16) > third.number);
  });

  it("has beside it one of the root, made while the root's key is here and kept when it is away", async () => {
    using set = await prepare();
    const { authority, directory } = set;
    const { pki } = directory;
    const made = obtainRootCrl(pki, authority, startMs) ?? assert.fail();
    const root = fieldsOf(authority.root.x509.raw);
    const decoded = decodeCrl(Buffer.from(made));
    assert.ok(decoded.kind === "value");
    assert.equal(verifyCrl({ crl: decoded.value, issuer: root, nowMs: startMs + 364 * dayMs }).kind, "valid");
    assert.equal(obtainRootCrl(pki, authority, startMs + 100 * dayMs), made);
    assert.notEqual(obtainRootCrl(pki, authority, startMs + 200 * dayMs), made);
    rmSync(join(pki, "root.key"));
    const last = obtainRootCrl(pki, authority, startMs + 500 * dayMs);
    assert.ok(last !== undefined && last !== made);
    assert.equal(obtainRootCrl(pki, authority, startMs + 600 * dayMs), undefined);
  });
});

describe("OCSP responder", () => {
  it("gives one answer to all until half its time is over or the status changes (RFC 5019)", async () => {
    using set = await prepare();
    const { now, ask, verify, change } = set;
    const first = ask();
    assert.equal(verify(first.bytes).kind, "good");
    assert.deepEqual(first.shared, { fromMs: startMs, untilMs: startMs + hourMs });
    now.ms += hourMs / 2 - 1;
    assert.equal(ask().bytes, first.bytes);
    now.ms += 1;
    assert.notEqual(ask().bytes, first.bytes);
    change({ revoked: { at, reason: "keyCompromise" } });
    const verdict = verify(ask().bytes);
    assert.ok(verdict.kind === "revoked");
    assert.equal(verdict.reason, "keyCompromise");
    // The clock was set back: an answer from the future is good for nobody.
    now.ms = startMs - hourMs / 2;
    assert.equal(verify(ask().bytes).kind, "revoked");
  });

  it("answers a nonce with an answer of its own, and says unknown of what it never issued", async () => {
    using set = await prepare();
    const { ask, verify } = set;
    const nonce = new Uint8Array(32).fill(7);
    const own = ask(nonce);
    assert.equal(own.shared, undefined);
    assert.equal(verify(own.bytes, nonce).kind, "good");
    assert.equal(verify(ask().bytes, nonce).kind, "invalid");
    const unknown = ask(undefined, "4711");
    assert.equal(unknown.shared, undefined);
    assert.equal(verify(unknown.bytes, undefined, "4711").kind, "unknown");
  });

  it("says nothing about other authorities, and takes nothing that is no request", async () => {
    using set = await prepare();
    const { responder, authority, verify } = set;
    const root = fieldsOf(authority.root.x509.raw);
    const foreign = responder.answer(
      encodeOcspRequest({ serialNumber: "01", issuer: root, nonce: undefined }),
    );
    const refused = verify(foreign.bytes);
    assert.ok(refused.kind === "invalid" && /unauthorized/.test(refused.reason));
    const malformed = verify(responder.answer(Buffer.from("junk")).bytes);
    assert.ok(malformed.kind === "invalid" && /malformed request/.test(malformed.reason));
  });

  it("signs on demand so often a second and no more, and goes on giving prepared answers", async () => {
    using set = await prepare();
    const { ask, verify, now } = set;
    const nonce = new Uint8Array(32);
    const kinds = Array.from({ length: 300 }, () => verify(ask(nonce).bytes, nonce).kind);
    assert.equal(kinds.filter((kind) => kind === "good").length, 200);
    assert.equal(verify(ask().bytes).kind, "good");
    now.monotonicMs += 100;
    assert.equal(verify(ask(nonce).bytes, nonce).kind, "good");
  });

  it("has a key of its own that is another after 30 days, and in use for no answer after its certificate", async () => {
    using set = await prepare();
    const { directory, authority, signer } = set;
    const issuing = { certificate: authority.issuing, issuer: authority.issuer };
    const serialAt = async (ms: number) => {
      const { certificate } = await obtainOcspSigner(join(directory.pki, "ocsp.pem"), issuing, ms);
      return decodeCertificate(certificate)?.serialNumber;
    };
    const first = decodeCertificate(signer.certificate)?.serialNumber;
    assert.equal(await serialAt(startMs + 30 * dayMs - 1), first);
    const second = await serialAt(startMs + 30 * dayMs);
    assert.notEqual(second, first);
    assert.equal(await serialAt(startMs + 31 * dayMs), second);
  });
});
