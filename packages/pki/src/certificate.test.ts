import assert from "node:assert/strict";
import { execFileSync, spawnSync } from "node:child_process";
import { createPrivateKey, randomUUID } from "node:crypto";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";

import {
  Purpose,
  answersFor,
  decodeCertificate,
  deviceOf,
  splitPem,
  verifyLeaf,
  type Certificate,
} from "./certificate.ts";
import { issueDevice, issueIntermediate, issueRoot, issueServer, type KeyPair } from "./issue.ts";

const dayMs = 86_400_000;
const nowMs = Date.UTC(2027, 0, 1, 0, 0, 0, 500);
const validity = { notBeforeMs: nowMs - dayMs, notAfterMs: nowMs + 100 * dayMs };
const opensslMissing = spawnSync("openssl", ["version"]).status === 0 ? false : "openssl is not installed";

function read(pem: string): Certificate {
  const certificate = decodeCertificate(pem);
  assert.ok(certificate !== undefined);
  return certificate;
}

describe("certificates of our authority", () => {
  let root: KeyPair;
  let issuer: KeyPair;
  let server: KeyPair;
  let device: KeyPair;
  let directory: string;

  before(async () => {
    root = await issueRoot({ commonName: "root", validity });
    issuer = await issueIntermediate({ commonName: "issuing", validity, issuer: root });
    server = await issueServer({ hosts: ["localhost", "127.0.0.1", "::1"], validity, issuer });
    device = await issueDevice({ tenant: "default", device: "boiler-7", validity, issuer });
    directory = mkdtempSync(join(tmpdir(), "postern-pki-"));
  });
  after(() => rmSync(directory, { recursive: true, force: true }));

  function file(pem: string): string {
    const path = join(directory, `${randomUUID()}.pem`);
    writeFileSync(path, pem);
    return path;
  }

  function openssl(
    leaf: KeyPair,
    purpose: string,
  ): { readonly status: number | null; readonly text: string } {
    const args = ["verify", "-x509_strict", "-attime", String(Math.floor(nowMs / 1000)), "-purpose", purpose];
    const chain = [
      "-CAfile",
      file(root.certificate),
      "-untrusted",
      file(issuer.certificate),
      file(leaf.certificate),
    ];
    const { status, stdout, stderr } = spawnSync("openssl", [...args, ...chain], { encoding: "utf8" });
    return { status, text: stdout + stderr };
  }

  function verify(
    leaf: KeyPair | Certificate,
    changes: { purpose?: Purpose; nowMs?: number; issuers?: Certificate[] } = {},
  ) {
    const certificate = "x509" in leaf ? leaf : read(leaf.certificate);
    return verifyLeaf({
      certificate,
      purpose: Purpose.clientAuth,
      nowMs,
      issuers: [read(issuer.certificate)],
      ...changes,
    });
  }

  it(
    "are accepted by openssl's strict check for their purpose and no other (RFC 5280)",
    { skip: opensslMissing },
    () => {
      assert.match(openssl(server, "sslserver").text, /: OK/);
      assert.match(openssl(device, "sslclient").text, /: OK/);
      assert.notEqual(openssl(device, "sslserver").status, 0);
      assert.notEqual(openssl(server, "sslclient").status, 0);
      const below = execFileSync("openssl", ["x509", "-noout", "-ext", "basicConstraints"], {
        input: issuer.certificate,
      });
      assert.match(below.toString(), /critical\s+CA:TRUE, pathlen:0/);
    },
  );

  it("carry a random positive serial number of 128 bits (RFC 5280 §4.1.2.2)", () => {
    const serials = [root, issuer, server, device].map((pair) => read(pair.certificate).serialNumber);
    assert.equal(new Set(serials).size, 4);
    for (const serial of serials) assert.match(serial, /^[4-7][0-9A-F]{31}$/);
  });

  it("come with the key that fits", () => {
    for (const pair of [root, issuer, server, device]) {
      assert.ok(read(pair.certificate).x509.checkPrivateKey(createPrivateKey(pair.key)));
    }
  });

  it("hold whole seconds and never outlive their issuer", async () => {
    const long = await issueDevice({
      tenant: "default",
      device: "d",
      validity: { ...validity, notAfterMs: validity.notAfterMs + dayMs },
      issuer,
    });
    assert.equal(read(long.certificate).notAfterMs, read(issuer.certificate).notAfterMs);
    assert.equal(read(device.certificate).notBeforeMs, Math.floor(validity.notBeforeMs / 1000) * 1000);
  });

  it("name a device by exactly one URI", () => {
    assert.deepEqual(deviceOf(read(device.certificate)), { tenant: "default", device: "boiler-7" });
    assert.equal(deviceOf(read(server.certificate)), undefined);
    assert.equal(deviceOf(read(root.certificate)), undefined);
  });

  it("are refused for a device name that could be mistaken for another", async () => {
    for (const name of ["", "a:b", "a/b", "..", "a, URI:urn:iot:x:y", "ü", "a".repeat(65)]) {
      await assert.rejects(
        issueDevice({ tenant: "default", device: name, validity, issuer }),
        RangeError,
        name,
      );
    }
  });

  it("answer for the hosts of the server and no other", () => {
    const certificate = read(server.certificate);
    for (const host of ["localhost", "127.0.0.1", "::1", "0:0:0:0:0:0:0:1"])
      assert.ok(answersFor(certificate, host), host);
    for (const host of ["Postern server", "example.org", "127.0.0.2", "::2"])
      assert.ok(!answersFor(certificate, host), host);
  });

  it("are verified by our own check for their purpose, until they or their issuer expire", () => {
    assert.deepEqual(verify(device), {
      kind: "valid",
      untilMs: Math.floor(validity.notAfterMs / 1000) * 1000,
    });
    assert.equal(verify(server, { purpose: Purpose.serverAuth }).kind, "valid");
  });

  it("are refused with the reason", async () => {
    const otherRoot = await issueRoot({ commonName: "root", validity });
    const otherIssuer = await issueIntermediate({ commonName: "issuing", validity, issuer: otherRoot });
    const foreign = await issueDevice({
      tenant: "default",
      device: "boiler-7",
      validity,
      issuer: otherIssuer,
    });
    const reasons = [
      [verify(server), /extended key usage/],
      [verify(device, { purpose: Purpose.serverAuth }), /extended key usage/],
      [verify(device, { nowMs: validity.notBeforeMs - 1000 }), /valid only from/],
      [verify(device, { nowMs: validity.notAfterMs + 1000 }), /expired/],
      [verify(foreign), /not issued by our/],
      [verify(device, { issuers: [] }), /not issued by our/],
      [verify(issuer, { issuers: [read(root.certificate)] }), /a certificate authority's/],
    ] as const;
    for (const [result, reason] of reasons) {
      assert.ok(result.kind === "invalid", String(reason));
      assert.match(result.reason, reason);
    }
  });

  it("do not verify with any byte of the signed part or the signature changed", () => {
    const der = read(device.certificate).x509.raw;
    for (let index = 0; index < der.length; index += 1) {
      const changed = Uint8Array.from(der);
      changed[index] = (changed[index] ?? 0) ^ 0x01;
      const certificate = decodeCertificate(changed);
      if (certificate !== undefined) assert.equal(verify(certificate).kind, "invalid", `byte ${index}`);
    }
  });

  it("decode to nothing from what is no certificate, and split into singles", () => {
    assert.equal(decodeCertificate(new Uint8Array([0x30, 0x80])), undefined);
    assert.equal(decodeCertificate("-----BEGIN CERTIFICATE-----"), undefined);
    assert.deepEqual(splitPem(device.certificate + issuer.certificate), [
      device.certificate.trim(),
      issuer.certificate.trim(),
    ]);
    assert.deepEqual(splitPem(""), []);
  });
});
