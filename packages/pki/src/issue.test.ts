import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { after, before, describe, it } from "node:test";

import * as fc from "fast-check";

import { decodeCertificateFields, keyHash, type CertificateFields } from "./certificate-fields.ts";
import { verifyChain } from "./chain.ts";
import { Purpose, decodeCertificate, verifyLeaf } from "./certificate.ts";
import {
  issueDevice,
  issueIntermediate,
  issueOcspResponder,
  issueRoot,
  issueServer,
  type KeyAlgorithm,
  type KeyPair,
} from "./issue.ts";
import { toPem } from "./pem.ts";
import { isSignedBy } from "./signature.ts";
import { Openssl, certificateOf, derOf, fieldsOf, noOpenssl } from "./testing.ts";

const dayMs = 86_400_000;
const nowMs = Date.now();
const validity = { notBeforeMs: nowMs - dayMs, notAfterMs: nowMs + 30 * dayMs };
const urls = { crl: "http://pki.example:9880/crl/issuing.crl", ocsp: "http://pki.example:9880/ocsp" };

interface Issued {
  readonly root: KeyPair;
  readonly issuing: KeyPair;
  readonly server: KeyPair;
  readonly device: KeyPair;
  readonly responder: KeyPair;
}

async function issueAll(algorithm: KeyAlgorithm): Promise<Issued> {
  const root = await issueRoot({ commonName: "Root", validity, algorithm });
  const issuing = await issueIntermediate({ commonName: "Issuing", validity, issuer: root, algorithm });
  const common = { validity, issuer: { ...issuing, urls }, algorithm };
  return {
    root,
    issuing,
    server: await issueServer({ ...common, hosts: ["localhost", "::1"], mustStaple: true }),
    device: await issueDevice({ ...common, tenant: "default", device: "lamp" }),
    responder: await issueOcspResponder(common),
  };
}

describe("profile of issued certificates", () => {
  let openssl: Openssl;
  before(() => {
    openssl = new Openssl();
  });
  after(() => openssl[Symbol.dispose]());

  for (const algorithm of ["P-256", "Ed25519"] as const) {
    it(
      `is what openssl's strict check wants, for each purpose (${algorithm}, RFC 5280, RFC 8410)`,
      { skip: noOpenssl },
      async () => {
        const { root, issuing, server, device, responder } = await issueAll(algorithm);
        const rows = [
          [server, "sslserver"],
          [device, "sslclient"],
          [responder, "ocsphelper"],
        ] as const;
        for (const [leaf, purpose] of rows) {
          const verified = openssl.run([
            ["verify", "-x509_strict", "-purpose", purpose, "-CAfile", openssl.file(root.certificate)],
            ["-untrusted", openssl.file(issuing.certificate), openssl.file(leaf.certificate)],
          ]);
          assert.match(verified.text, /: OK/, purpose);
        }
        const chain = {
          intermediates: [certificateOf(issuing.certificate)],
          anchors: [certificateOf(root.certificate)],
          nowMs,
        };
        for (const [leaf, purpose] of [
          [device, Purpose.clientAuth],
          [server, Purpose.serverAuth],
          [responder, Purpose.ocspSigning],
        ] as const) {
          const certificate = certificateOf(leaf.certificate);
          assert.equal(
            verifyLeaf({ certificate, issuers: chain.intermediates, purpose, nowMs }).kind,
            "valid",
          );
          assert.equal(verifyChain({ leaf: certificate, purpose, ...chain }).kind, "valid");
        }
      },
    );
  }

  it("says where its status can be asked for, and that the server staples (RFC 5280 §4.2.1.13, §4.2.2.1, RFC 7633)", async () => {
    const { issuing, server, device, responder } = await issueAll("P-256");
    for (const pair of [server, device]) {
      const fields = fieldsOf(pair.certificate);
      assert.deepEqual(fields.crlUrls, [urls.crl]);
      assert.deepEqual(fields.ocspUrls, [urls.ocsp]);
    }
    assert.equal(fieldsOf(server.certificate).mustStaple, true);
    assert.equal(fieldsOf(device.certificate).mustStaple, false);
    assert.equal(fieldsOf(responder.certificate).ocspNoCheck, true);
    assert.deepEqual(fieldsOf(responder.certificate).crlUrls, []);
    if (noOpenssl !== false) return;
    const text = openssl.run(["x509", "-noout", "-text"], server.certificate).text;
    assert.match(
      text,
      /CRL Distribution Points:\s+Full Name:\s+URI:http:\/\/pki\.example:9880\/crl\/issuing\.crl/,
    );
    assert.match(text, /OCSP - URI:http:\/\/pki\.example:9880\/ocsp/);
    assert.match(text, /TLS Feature:\s+status_request/);
    assert.match(openssl.run(["x509", "-noout", "-text"], responder.certificate).text, /OCSP No Check/);
    assert.match(openssl.run(["x509", "-noout", "-ocsp_uri"], device.certificate).text, /^http:\/\/pki/);
    assert.match(openssl.run(["x509", "-noout", "-text"], issuing.certificate).text, /CA:TRUE, pathlen:0/);
  });

  it("is read from its bytes as node:crypto reads it", async () => {
    const { root, issuing, server, device, responder } = await issueAll("P-256");
    for (const pair of [root, issuing, server, device, responder]) {
      const certificate = certificateOf(pair.certificate);
      const fields: CertificateFields = fieldsOf(pair.certificate);
      assert.equal(fields.serialNumber, certificate.serialNumber);
      assert.match(fields.serialNumber, /^[4-7][0-9A-F]{31}$/);
      assert.equal(fields.notBeforeMs, certificate.notBeforeMs);
      assert.equal(fields.notAfterMs, certificate.notAfterMs);
      assert.equal(fields.authority, certificate.authority);
      assert.deepEqual(fields.purposes ?? [], certificate.purposes);
      assert.deepEqual(Buffer.from(fields.subjectKeyIdentifier ?? []), keyHash(fields));
      assert.deepEqual(
        Buffer.from(fields.publicKeyInfo),
        certificate.x509.publicKey.export({ format: "der", type: "spki" }),
      );
    }
    assert.deepEqual(
      fieldsOf(device.certificate).authorityKeyIdentifier,
      fieldsOf(issuing.certificate).subjectKeyIdentifier,
    );
    assert.equal(fieldsOf(issuing.certificate).pathLength, 0);
    assert.ok(isSignedBy(fieldsOf(device.certificate), certificateOf(issuing.certificate).x509.publicKey));
    assert.ok(!isSignedBy(fieldsOf(device.certificate), certificateOf(root.certificate).x509.publicKey));
  });

  it(
    "cannot constrain an authority to our URIs: openssl knows no host in a URN (RFC 5280 §4.2.1.10)",
    { skip: noOpenssl },
    async () => {
      const { device } = await issueAll("P-256");
      const config = (extensions: string) =>
        openssl.file(`[req]\ndistinguished_name=n\nx509_extensions=e\n[n]\n[e]\n${extensions}\n`);
      const key = openssl.file("");
      const authority =
        "basicConstraints=critical,CA:TRUE\nkeyUsage=critical,keyCertSign,cRLSign\nsubjectKeyIdentifier=hash";
      const constrained = openssl.file("");
      openssl.run([
        [
          "req",
          "-x509",
          "-newkey",
          "ec",
          "-pkeyopt",
          "ec_paramgen_curve:P-256",
          "-nodes",
          "-keyout",
          key,
          "-subj",
          "/CN=C",
        ],
        [
          "-config",
          config(`${authority}\nnameConstraints=critical,permitted;URI:urn:iot:default`),
          "-out",
          constrained,
        ],
      ]);
      const leaf = openssl.file("");
      const extensions =
        "basicConstraints=critical,CA:FALSE\nextendedKeyUsage=clientAuth\nsubjectAltName=URI:urn:iot:default:lamp";
      openssl.run([
        [
          "req",
          "-x509",
          "-key",
          openssl.file(device.key),
          "-subj",
          "/CN=lamp",
          "-CA",
          constrained,
          "-CAkey",
          key,
        ],
        ["-config", config(extensions), "-out", leaf],
      ]);
      const { text } = openssl.run(["verify", "-x509_strict", "-CAfile", constrained, leaf]);
      assert.match(text, /unsupported (or invalid )?name syntax/);
    },
  );

  it("is never misread when bytes are cut or changed: no throw, no hang", async () => {
    const { device } = await issueAll("P-256");
    const der = derOf(device.certificate);
    for (let length = 0; length < der.length; length += 1)
      assert.equal(decodeCertificateFields(der.subarray(0, length)).kind, "malformed");
    fc.assert(
      fc.property(fc.nat(der.length - 1), fc.integer({ min: 1, max: 255 }), (at, by) => {
        const changed = Buffer.from(der);
        changed[at] = (changed[at] ?? 0) ^ by;
        decodeCertificateFields(changed);
        const certificate = decodeCertificate(toPem("CERTIFICATE", changed));
        if (certificate === undefined) return;
        const chain = { intermediates: [], anchors: [certificateOf(device.certificate)], nowMs };
        assert.equal(
          verifyChain({ leaf: certificate, purpose: Purpose.clientAuth, ...chain }).kind,
          "invalid",
        );
      }),
      { numRuns: 500 },
    );
    assert.equal(decodeCertificateFields(randomBytes(100)).kind, "malformed");
  });
});
