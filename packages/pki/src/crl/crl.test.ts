import assert from "node:assert/strict";
import { createPrivateKey } from "node:crypto";
import { after, before, describe, it } from "node:test";

import * as fc from "fast-check";
import { Certificate as OracleCertificate, CertificateRevocationList } from "pkijs";

import { ExtensionId, type CertificateFields } from "../certificate-fields.ts";
import { contextPrimitiveTag, contextTag } from "../der/tag.ts";
import {
  bitString,
  boolean,
  element,
  explicit,
  integer,
  objectIdentifier,
  octetString,
  sequence,
  time,
} from "../der/writer.ts";
import { issueDevice, issueIntermediate, issueRoot, type KeyAlgorithm, type KeyPair } from "../issue.ts";
import { fromPem, toPem } from "../pem.ts";
import { RevocationReason, revocationReasonName, type Revocation } from "../revocation.ts";
import { sign, signatureAlgorithm } from "../signature.ts";
import { Openssl, certificateOf, derOf, fieldsOf, noOpenssl } from "../testing.ts";
import { decodeCrl, type Crl } from "./decode.ts";
import { crlPemLabel, encodeCrl } from "./encode.ts";
import { crlCovers, verifyCrl } from "./verify.ts";

const dayMs = 86_400_000;
const hourMs = 3_600_000;
const nowMs = Math.floor(Date.now() / 1000) * 1000;
const validity = { notBeforeMs: nowMs - dayMs, notAfterMs: nowMs + 100 * dayMs };
const url = "http://pki.example/crl/issuing.crl";

function decoded(bytes: Uint8Array): Crl {
  const result = decodeCrl(bytes);
  if (result.kind === "malformed") assert.fail(result.reason);
  return result.value;
}

interface Authority {
  readonly root: KeyPair;
  readonly issuing: KeyPair;
  readonly fields: CertificateFields;
  readonly good: KeyPair;
  readonly revoked: KeyPair;
}

async function makeAuthority(algorithm: KeyAlgorithm): Promise<Authority> {
  const root = await issueRoot({ commonName: "Root", validity, algorithm });
  const issuing = await issueIntermediate({ commonName: "Issuing", validity, issuer: root, algorithm });
  const common = { tenant: "default", validity, issuer: { ...issuing, urls: { crl: url } }, algorithm };
  const good = await issueDevice({ ...common, device: "good" });
  const revoked = await issueDevice({ ...common, device: "revoked" });
  return { root, issuing, fields: fieldsOf(issuing.certificate), good, revoked };
}

function crlOf(
  issuer: KeyPair,
  revocations: Iterable<Revocation>,
  options: { url?: string; key?: string } = {},
): Buffer {
  return encodeCrl({
    issuer: fieldsOf(issuer.certificate),
    key: issuer.key,
    number: 7,
    thisUpdateMs: nowMs,
    nextUpdateMs: nowMs + dayMs,
    revocations,
    ...options,
  });
}

/** A CRL that is ours but for some part, signed as it should be. */
function oddCrl(
  issuer: KeyPair,
  parts: {
    readonly extensions?: readonly Buffer[];
    readonly entryExtensions?: Buffer;
    readonly times?: readonly Buffer[];
    readonly name?: Uint8Array;
  },
): Buffer {
  const key = createPrivateKey(issuer.key);
  const { extensions = [], entryExtensions, times = [time(nowMs), time(nowMs + dayMs)], name } = parts;
  const entry = sequence(
    integer(5),
    time(nowMs),
    ...(entryExtensions === undefined ? [] : [entryExtensions]),
  );
  const signed = sequence(
    integer(1),
    signatureAlgorithm(key),
    name ?? fieldsOf(issuer.certificate).subject,
    ...times,
    sequence(entry),
    ...(extensions.length === 0 ? [] : [explicit(0, sequence(...extensions))]),
  );
  return sequence(signed, signatureAlgorithm(key), bitString(sign(key, signed)));
}

function extension(oid: string, value: Buffer, critical: boolean): Buffer {
  return sequence(objectIdentifier(oid), ...(critical ? [boolean(true)] : []), octetString(value));
}

function scope(...parts: Buffer[]): Buffer {
  return extension(ExtensionId.issuingDistributionPoint, sequence(...parts), true);
}

const yes = Uint8Array.of(0xff);

function serialOf(index: number): string {
  return `4${index.toString(16).padStart(31, "0")}`;
}

/** Of this process alone: the machine may be busy. */
function cpuMsSince(start: NodeJS.CpuUsage): number {
  return process.cpuUsage(start).user / 1000;
}

describe("CRL", () => {
  let authority: Authority;
  let revocations: Revocation[];
  let openssl: Openssl;

  before(async () => {
    authority = await makeAuthority("P-256");
    const { serialNumber } = certificateOf(authority.revoked.certificate);
    revocations = [
      { serialNumber, revokedAtMs: nowMs - hourMs, reason: RevocationReason.keyCompromise },
      { serialNumber: "00ff", revokedAtMs: nowMs - hourMs, reason: RevocationReason.unspecified },
    ];
    openssl = new Openssl();
  });
  after(() => openssl[Symbol.dispose]());

  function verify(bytes: Uint8Array, at = nowMs, issuer = authority.fields): string | undefined {
    const result = verifyCrl({ crl: decoded(bytes), issuer, nowMs: at });
    return result.kind === "invalid" ? result.reason : undefined;
  }

  it("says what was revoked, when and why, and nothing of others (RFC 5280 §5.1, §5.3.1)", () => {
    const crl = decoded(crlOf(authority.issuing, revocations));
    assert.equal(crl.number, "07");
    assert.equal(crl.entryCount, 2);
    assert.equal(crl.thisUpdateMs, nowMs);
    assert.equal(crl.nextUpdateMs, nowMs + dayMs);
    const entry = crl.find(certificateOf(authority.revoked.certificate).serialNumber);
    assert.deepEqual(entry, { revokedAtMs: nowMs - hourMs, reason: 1 });
    assert.equal(revocationReasonName(entry.reason), "keyCompromise");
    assert.deepEqual(crl.find("FF"), { revokedAtMs: nowMs - hourMs, reason: 0 });
    assert.deepEqual(crl.find("ff"), crl.find("00FF"));
    assert.equal(crl.find(certificateOf(authority.good.certificate).serialNumber), undefined);
    assert.equal(verify(crlOf(authority.issuing, revocations)), undefined);
  });

  for (const algorithm of ["P-256", "Ed25519"] as const) {
    it(
      `is what openssl decides by, for every certificate of a chain (${algorithm})`,
      { skip: noOpenssl },
      async () => {
        const { root, issuing, good, revoked } = await makeAuthority(algorithm);
        const { serialNumber } = certificateOf(revoked.certificate);
        const rootCrl = toPem(crlPemLabel, crlOf(root, []));
        for (const options of [{}, { url }]) {
          const crl = crlOf(
            issuing,
            [{ serialNumber, revokedAtMs: nowMs - hourMs, reason: RevocationReason.superseded }],
            options,
          );
          const crls = openssl.file(rootCrl + toPem(crlPemLabel, crl));
          const check = (leaf: KeyPair, all = crls) =>
            openssl.run([
              ["verify", "-x509_strict", "-crl_check_all", "-CAfile", openssl.file(root.certificate)],
              [
                "-untrusted",
                openssl.file(issuing.certificate),
                "-CRLfile",
                all,
                openssl.file(leaf.certificate),
              ],
            ]).text;
          assert.match(check(good), /: OK/);
          assert.match(check(revoked), /error 23 at 0 depth lookup: certificate revoked/);
          // One CRL for each authority: without that of the root, everybody is refused.
          assert.match(check(good, openssl.file(toPem(crlPemLabel, crl))), /unable to get certificate CRL/);
          const text = openssl.run(
            ["crl", "-inform", "DER", "-noout", "-text", "-nameopt", "RFC2253"],
            crl,
          ).text;
          for (const pattern of [
            /Version 2/,
            /CRL Number:\s+7/,
            /keyid:|Authority Key Identifier/,
            /Superseded/,
          ])
            assert.match(text, pattern);
          assert.equal(/Only (User|CA|Attribute)/.test(text), false);
          assert.equal(/URI:http:\/\/pki\.example\/crl\/issuing\.crl/.test(text), options.url !== undefined);
        }
      },
    );
  }

  it(
    "has the PEM label that openssl and Node read, and no empty list (RFC 7468 §7, RFC 5280 §5.1.2.6)",
    { skip: noOpenssl },
    () => {
      const pem = toPem(crlPemLabel, crlOf(authority.issuing, []));
      assert.match(pem, /^-----BEGIN X509 CRL-----\n/);
      const read = openssl.run(["crl", "-noout", "-text"], pem);
      assert.match(read.text, /No Revoked Certificates/);
      assert.equal(decoded(Buffer.from(pem)).entryCount, 0);
      assert.equal(verify(Buffer.from(pem)), undefined);
    },
  );

  it("is read as openssl writes it", { skip: noOpenssl }, () => {
    const { directory } = openssl;
    const serial = certificateOf(authority.revoked.certificate).serialNumber;
    const index = openssl.file(
      `R\t301231235959Z\t260101120000Z,keyCompromise\t${serial}\tunknown\t/CN=revoked\n`,
    );
    const config = openssl.file(
      `[ca]\ndefault_ca=d\n[d]\ndatabase=${index}\ncrlnumber=${openssl.file("1F\n")}\ndefault_md=sha256\ndefault_crl_days=1\ncrl_extensions=e\n[e]\nauthorityKeyIdentifier=keyid:always\n`,
    );
    const made = openssl.run([
      ["ca", "-gencrl", "-config", config, "-cert", openssl.file(authority.issuing.certificate)],
      ["-keyfile", openssl.file(authority.issuing.key), "-out", `${directory}/made.crl`],
    ]);
    assert.equal(made.status, 0, made.text);
    const pem = openssl.run(["crl", "-in", `${directory}/made.crl`]).stdout;
    const crl = decoded(pem);
    assert.equal(crl.number, "1F");
    assert.deepEqual(crl.find(serial), { revokedAtMs: Date.UTC(2026, 0, 1, 12), reason: 1 });
    assert.equal(verify(pem, Date.now() + 1000), undefined);
  });

  it("agrees with pkijs in both directions", async () => {
    const bytes = crlOf(authority.issuing, revocations, { url });
    const oracle = CertificateRevocationList.fromBER(Uint8Array.from(bytes));
    const issuer = OracleCertificate.fromBER(Uint8Array.from(derOf(authority.issuing.certificate)));
    assert.equal(await oracle.verify({ issuerCertificate: issuer }), true);
    const revoked = OracleCertificate.fromBER(Uint8Array.from(derOf(authority.revoked.certificate)));
    const good = OracleCertificate.fromBER(Uint8Array.from(derOf(authority.good.certificate)));
    assert.equal(oracle.isCertificateRevoked(revoked), true);
    assert.equal(oracle.isCertificateRevoked(good), false);
    const written = decoded(new Uint8Array(oracle.toSchema(true).toBER(false)));
    assert.deepEqual(written.find("FF"), { revokedAtMs: nowMs - hourMs, reason: 0 });
    assert.equal(written.entryCount, 2);
  });

  it("is refused with a reason when it is not its authority's, not current, or not about everything (RFC 5280 §6.3.3)", async () => {
    const { issuing, root, good, fields } = authority;
    const other = await issueIntermediate({ commonName: "Issuing", validity, issuer: root });
    const ours = crlOf(issuing, revocations);
    const changed = Buffer.from(ours);
    const at = changed.length - 10;
    changed[at] = (changed[at] ?? 0) ^ 1;
    const refused: readonly (readonly [Uint8Array, RegExp, (number | undefined)?, CertificateFields?])[] = [
      [crlOf(root, []), /another authority/],
      [crlOf(other, []), /another key/],
      [crlOf(issuing, [], { key: other.key }), /signature/],
      [changed, /signature/],
      [ours, /out of date/, nowMs + dayMs],
      [ours, /future/, nowMs - 301_000],
      [ours, /not for signing CRLs/, nowMs, { ...fields, keyUsage: 1 }],
      [oddCrl(issuing, { times: [time(nowMs)] }), /until when/],
      [oddCrl(issuing, { extensions: [extension("2.5.29.27", integer(1), true)] }), /delta/],
      [oddCrl(issuing, { extensions: [extension("1.2.3", integer(1), true)] }), /1\.2\.3/],
      [oddCrl(issuing, { extensions: [scope(element(contextPrimitiveTag(4), yes))] }), /indirect/],
      [oddCrl(issuing, { extensions: [scope(element(contextPrimitiveTag(5), yes))] }), /attribute/],
      [
        oddCrl(issuing, { extensions: [scope(element(contextPrimitiveTag(3), Buffer.from([6, 0x40])))] }),
        /some reasons/,
      ],
      [
        oddCrl(issuing, { entryExtensions: sequence(extension("2.5.29.29", sequence(), true)) }),
        /2\.5\.29\.29/,
      ],
    ];
    for (const [bytes, reason, when, issuer] of refused)
      assert.match(verify(bytes, when, issuer) ?? "", reason);
    assert.equal(verify(oddCrl(issuing, {})), undefined);
    assert.equal(verify(oddCrl(issuing, { extensions: [extension("1.2.3", integer(1), false)] })), undefined);
    assert.equal(fieldsOf(good.certificate).crlUrls[0], url);
  });

  it("speaks only for certificates in its scope (RFC 5280 §6.3.3 (b))", () => {
    const { issuing, good } = authority;
    const leaf = fieldsOf(good.certificate);
    const isUser = decoded(oddCrl(issuing, { extensions: [scope(element(contextPrimitiveTag(1), yes))] }));
    const isAuthority = decoded(
      oddCrl(issuing, { extensions: [scope(element(contextPrimitiveTag(2), yes))] }),
    );
    const isNeither = decoded(
      oddCrl(issuing, { extensions: [scope(element(contextPrimitiveTag(2), Uint8Array.of(0)))] }),
    );
    assert.ok(crlCovers(isUser, leaf) && !crlCovers(isUser, authority.fields));
    assert.ok(!crlCovers(isAuthority, leaf) && crlCovers(isAuthority, authority.fields));
    assert.ok(crlCovers(isNeither, leaf));
    assert.ok(crlCovers(decoded(crlOf(issuing, [], { url })), leaf));
    assert.ok(!crlCovers(decoded(crlOf(issuing, [], { url: `${url}2` })), leaf));
  });

  it("holds 200,000 entries: built in about a second, read and verified in less", () => {
    const many = Array.from({ length: 200_000 }, (_, index): Revocation => ({
      serialNumber: serialOf(index),
      revokedAtMs: nowMs - index * 1000,
      reason: index % 2 === 0 ? RevocationReason.keyCompromise : RevocationReason.superseded,
    }));
    const started = process.cpuUsage();
    const bytes = crlOf(authority.issuing, many);
    const builtMs = cpuMsSince(started);
    const built = process.cpuUsage();
    const crl = decoded(bytes);
    assert.equal(verifyCrl({ crl, issuer: authority.fields, nowMs }).kind, "valid");
    const readMs = cpuMsSince(built);
    for (let index = 0; index < 200_000; index += 997) {
      const { revokedAtMs, reason } = crl.find(serialOf(index)) ?? {};
      assert.deepEqual([revokedAtMs, reason], [nowMs - index * 1000, index % 2 === 0 ? 1 : 4]);
    }
    assert.ok(builtMs < 1_500, `built in ${builtMs} ms`);
    assert.ok(readMs < 1_500, `read and verified in ${readMs} ms`);
  });

  it("never throws or hangs when it is cut anywhere or any byte is changed", () => {
    const bytes = crlOf(authority.issuing, revocations, { url });
    for (let length = 0; length < bytes.length; length += 1)
      assert.equal(decodeCrl(bytes.subarray(0, length)).kind, "malformed", `cut at ${length}`);
    assert.equal(decodeCrl(Buffer.concat([bytes, Buffer.of(0)])).kind, "malformed");
    fc.assert(
      fc.property(fc.nat(bytes.length - 1), fc.integer({ min: 1, max: 255 }), (at, by) => {
        const changed = Buffer.from(bytes);
        changed[at] = (changed[at] ?? 0) ^ by;
        const result = decodeCrl(changed);
        if (result.kind === "malformed") return;
        result.value.find("00");
        assert.equal(verifyCrl({ crl: result.value, issuer: authority.fields, nowMs }).kind, "invalid");
      }),
      { numRuns: 300 },
    );
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 300 }), (random) => {
        decodeCrl(random);
        decodeCrl(element(contextTag(0), random));
        decodeCrl(sequence(sequence(random)));
      }),
    );
    assert.deepEqual(fromPem(crlPemLabel, ""), []);
  });
});
