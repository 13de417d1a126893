import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { after, before, describe, it } from "node:test";

import { pathCertificatesMax, signatureChecksMax, verifyChain, type ChainRequest } from "./chain.ts";
import { Purpose, type Certificate } from "./certificate.ts";
import { Openssl, certificateOf, noOpenssl } from "./testing.ts";

const dayMs = 86_400_000;
/** A little later than what is made within the next seconds. */
const nowMs = Date.now() + 60_000;

interface Made {
  readonly pem: string;
  readonly key: string;
  readonly certificate: Certificate;
}

const authority = "basicConstraints=critical,CA:TRUE\nkeyUsage=critical,keyCertSign,cRLSign";
const client =
  "basicConstraints=critical,CA:FALSE\nkeyUsage=critical,digitalSignature\nextendedKeyUsage=clientAuth";

interface MakeOptions {
  readonly issuer?: Made;
  /** PEM; a new one unless given. */
  readonly key?: string;
  readonly days?: number;
  readonly digest?: string;
  readonly algorithm?: readonly string[];
}

const p256 = ["ec", "-pkeyopt", "ec_paramgen_curve:P-256"];

/** Certificates as other people's authorities make them: with openssl. */
class Workshop {
  readonly openssl = new Openssl();

  make(name: string, extensions: string, options: MakeOptions = {}): Made {
    const { openssl } = this;
    const { issuer, key, days = 30, digest = "-sha256", algorithm = p256 } = options;
    const keyFile = openssl.file(key ?? "");
    const certificateFile = openssl.file("");
    const config = `[req]\ndistinguished_name=n\nx509_extensions=e\n[n]\n[e]\n${extensions}\n`;
    const { status, text } = openssl.run([
      ["req", "-x509", "-config", openssl.file(config), "-subj", `/O=Plant/CN=${name}`, digest],
      ["-days", String(days), "-out", certificateFile],
      key === undefined ? ["-newkey", ...algorithm, "-nodes", "-keyout", keyFile] : ["-key", keyFile],
      issuer === undefined ? [] : ["-CA", openssl.file(issuer.pem), "-CAkey", openssl.file(issuer.key)],
    ]);
    assert.equal(status, 0, text);
    const pem = readFileSync(certificateFile, "utf8");
    return { pem, key: key ?? readFileSync(keyFile, "utf8"), certificate: certificateOf(pem) };
  }
}

describe("path to a trusted authority", { skip: noOpenssl }, () => {
  let shop: Workshop;
  let root: Made;
  let middle: Made;
  let issuing: Made;
  let device: Made;

  before(() => {
    shop = new Workshop();
    root = shop.make("Root", authority);
    middle = shop.make("Middle", authority, { issuer: root });
    issuing = shop.make("Issuing", authority.replace("CA:TRUE", "CA:TRUE,pathlen:0"), {
      issuer: middle,
    });
    device = shop.make("device", client, { issuer: issuing });
  });
  after(() => shop.openssl[Symbol.dispose]());

  function verify(leaf: Made, changes: Partial<ChainRequest> = {}) {
    return verifyChain({
      leaf: leaf.certificate,
      intermediates: [middle.certificate, issuing.certificate],
      anchors: [root.certificate],
      purpose: Purpose.clientAuth,
      nowMs,
      ...changes,
    });
  }

  function reason(leaf: Made, changes?: Partial<ChainRequest>): string {
    const result = verify(leaf, changes);
    assert.ok(result.kind === "invalid", "it was accepted");
    return result.reason;
  }

  it("is found whatever the order of what the client sends, and says which anchor it ends at", () => {
    const other = shop.make("Root", authority);
    const orders = [
      [middle, issuing],
      [issuing, middle],
      [issuing, device, other, middle, root],
    ];
    for (const order of orders) {
      const result = verify(device, {
        intermediates: order.map(({ certificate }) => certificate),
        anchors: [other.certificate, root.certificate],
      });
      assert.ok(result.kind === "valid", JSON.stringify(result));
      assert.equal(result.anchor, root.certificate);
      assert.deepEqual(
        result.path.map(({ fingerprint }) => fingerprint),
        [device, issuing, middle, root].map(({ certificate }) => certificate.fingerprint),
      );
      assert.equal(result.untilMs, Math.min(...result.path.map(({ notAfterMs }) => notAfterMs)));
    }
    // An authority in the middle may be trusted by itself.
    assert.equal(verify(device, { anchors: [issuing.certificate], intermediates: [] }).kind, "valid");
    const rsa = shop.make("rsa", client, {
      issuer: issuing,
      algorithm: ["rsa:2048"],
    });
    const ed25519 = shop.make("ed", client, { issuer: issuing, algorithm: ["ed25519"] });
    const bare = shop.make("bare", "basicConstraints=CA:FALSE", { issuer: issuing });
    for (const leaf of [rsa, ed25519, bare]) assert.equal(verify(leaf).kind, "valid");
  });

  it("is none for a leaf that is not for this, or not now (RFC 5280 §6.1.3)", () => {
    const server = shop.make("s", client.replace("clientAuth", "serverAuth"), { issuer: issuing });
    const below = shop.make("ca", authority, { issuer: middle });
    const signs = shop.make("k", client.replace("digitalSignature", "keyEncipherment"), { issuer: issuing });
    const odd = shop.make("o", `${client}\n1.2.3.4=critical,ASN1:NULL`, { issuer: issuing });
    const weak = shop.make("w", client, {
      issuer: issuing,
      algorithm: ["rsa:1024"],
    });
    const selfSigned = shop.make("device", client);
    assert.match(reason(server), /extended key usage/);
    assert.match(reason(below), /a certificate authority's/);
    assert.match(reason(signs), /key usage/);
    assert.match(reason(odd), /1\.2\.3\.4/);
    assert.match(reason(weak), /1024 bits/);
    assert.match(reason(selfSigned), /not issued by/);
    assert.match(reason(device, { nowMs: nowMs - 2 * dayMs }), /valid only from/);
    assert.match(reason(device, { nowMs: nowMs + 31 * dayMs }), /expired/);
    assert.match(reason(device, { anchors: [] }), /not issued by/);
    assert.match(reason(device, { intermediates: [] }), /not issued by/);
    assert.match(reason(root, { anchors: [root.certificate] }), /a certificate authority's/);
  });

  it("is none through an authority that may not, or is another of the same name (RFC 5280 §6.1.4)", () => {
    const tooDeep = shop.make("Deep", authority, { issuer: issuing });
    const belowDeep = shop.make("d", client, { issuer: tooDeep });
    const noCa = shop.make("d", client, { issuer: device });
    const noSign = shop.make("NoSign", "basicConstraints=critical,CA:TRUE\nkeyUsage=critical,cRLSign", {
      issuer: root,
    });
    const belowNoSign = shop.make("d", client, { issuer: noSign });
    const forServers = shop.make("ForServers", `${authority}\nextendedKeyUsage=serverAuth`, { issuer: root });
    const belowForServers = shop.make("d", client, { issuer: forServers });
    const constrained = shop.make(
      "Constrained",
      `${authority}\nnameConstraints=critical,permitted;DNS:example.org`,
      { issuer: root },
    );
    const belowConstrained = shop.make("d", client, { issuer: constrained });
    const short = shop.make("Short", authority, { issuer: root, days: 1 });
    const belowShort = shop.make("d", client, { issuer: short });
    const sha1 = shop.make("Sha1", authority, { issuer: root, digest: "-sha1" });
    const belowSha1 = shop.make("d", client, { issuer: sha1 });
    const impostor = shop.make("Issuing", authority);
    const belowImpostor = shop.make("d", client, { issuer: impostor });
    const through = (leaf: Made, ...makers: Made[]) =>
      reason(leaf, { intermediates: [...makers, middle, issuing].map(({ certificate }) => certificate) });
    assert.match(through(belowDeep, tooDeep), /allows 0 authorities/);
    assert.match(through(noCa, device), /no authority's/);
    assert.match(through(belowNoSign, noSign), /not for signing certificates/);
    assert.match(through(belowForServers, forServers), /extended key usage/);
    assert.match(through(belowConstrained, constrained), /2\.5\.29\.30/);
    assert.match(through(belowSha1, sha1), /not issued by/);
    assert.match(through(belowImpostor, impostor), /not issued by/);
    assert.match(through(belowImpostor), /not issued by/);
    const expired = reason(belowShort, { intermediates: [short.certificate], nowMs: nowMs + 2 * dayMs });
    assert.match(expired, /authority is refused: it expired/);
  });

  it("does not verify with any byte of the leaf's signature or content changed", () => {
    const der = device.certificate.x509.raw;
    for (let index = 0; index < der.length; index += 7) {
      const changed = Buffer.from(der);
      changed[index] = (changed[index] ?? 0) ^ 0x01;
      let certificate: Certificate;
      try {
        certificate = certificateOf(
          `-----BEGIN CERTIFICATE-----\n${changed.toString("base64")}\n-----END CERTIFICATE-----\n`,
        );
      } catch {
        continue;
      }
      assert.equal(verify({ ...device, certificate }).kind, "invalid", `byte ${index}`);
    }
  });

  it("is looked for with bounded depth and work, in a ring and among many of one name", () => {
    const { key } = issuing;
    // Authorities that sign each other: a ring.
    const one = shop.make("One", authority);
    const two = shop.make("Two", authority, { issuer: one });
    const oneAgain = shop.make("One", authority, { issuer: two, key: one.key });
    const leaf = shop.make("leaf", client, { issuer: two });
    assert.match(
      reason(leaf, { intermediates: [oneAgain.certificate, two.certificate, one.certificate] }),
      /not issued by/,
    );
    // A client cannot make us check signatures for ever: many with the same name and key.
    const many = Array.from({ length: 6 }, () => shop.make("Issuing", authority, { key }));
    const started = process.cpuUsage();
    const result = verify(device, {
      intermediates: Array.from({ length: 200 }, (_, index) => many[index % many.length] ?? issuing).map(
        ({ certificate }) => certificate,
      ),
    });
    assert.equal(result.kind, "invalid");
    assert.ok(process.cpuUsage(started).user < 500_000);
    assert.ok(pathCertificatesMax <= 8 && signatureChecksMax <= 64);
  });
});
