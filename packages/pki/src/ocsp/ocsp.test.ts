import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { readFileSync } from "node:fs";
import { after, before, describe, it } from "node:test";

import * as fc from "fast-check";
import {
  BasicOCSPResponse,
  Certificate as OracleCertificate,
  OCSPRequest as OracleRequest,
  OCSPResponse as OracleResponse,
} from "pkijs";

import { element, integer, octetString, sequence } from "../der/writer.ts";
import {
  issueDevice,
  issueIntermediate,
  issueOcspResponder,
  issueRoot,
  type KeyAlgorithm,
  type KeyPair,
} from "../issue.ts";
import { RevocationReason } from "../revocation.ts";
import { Openssl, certificateOf, derOf, fieldsOf, noOpenssl } from "../testing.ts";
import { encodeCertId, isIssuedBy } from "./cert-id.ts";
import { decodeOcspResponse } from "./decode-response.ts";
import {
  OcspFailure,
  OcspSigner,
  encodeOcspFailure,
  encodeOcspResponse,
  type CertificateStatus,
  type OcspAnswer,
} from "./encode-response.ts";
import {
  decodeOcspRequest,
  encodeOcspRequest,
  nonceBytes,
  ocspCertIdsMax,
  type OcspRequest,
} from "./request.ts";
import { verifyOcspResponse, type OcspVerifyRequest } from "./verify.ts";

const dayMs = 86_400_000;
const hourMs = 3_600_000;
const nowMs = Math.floor(Date.now() / 1000) * 1000;
const validity = { notBeforeMs: nowMs - dayMs, notAfterMs: nowMs + 100 * dayMs };
const nonce = randomBytes(nonceBytes);

function signerOf({ certificate, key }: KeyPair): OcspSigner {
  return new OcspSigner({ certificate: derOf(certificate), fields: fieldsOf(certificate), key });
}

function requestOf(bytes: Uint8Array): OcspRequest {
  const decoded = decodeOcspRequest(bytes);
  if (decoded.kind === "malformed") assert.fail(decoded.reason);
  return decoded.value;
}

class World {
  readonly root: KeyPair;
  readonly issuing: KeyPair;
  readonly device: KeyPair;
  readonly responder: KeyPair;
  readonly serialNumber: string;

  private constructor(parts: Pick<World, "root" | "issuing" | "device" | "responder">) {
    this.root = parts.root;
    this.issuing = parts.issuing;
    this.device = parts.device;
    this.responder = parts.responder;
    this.serialNumber = certificateOf(parts.device.certificate).serialNumber;
  }

  static async make(algorithm: KeyAlgorithm): Promise<World> {
    const root = await issueRoot({ commonName: "Root", validity, algorithm });
    const issuing = await issueIntermediate({ commonName: "Issuing", validity, issuer: root, algorithm });
    const device = await issueDevice({ tenant: "t", device: "d", validity, issuer: issuing, algorithm });
    const responder = await issueOcspResponder({ validity, issuer: issuing, algorithm });
    return new World({ root, issuing, device, responder });
  }

  get issuer() {
    return fieldsOf(this.issuing.certificate);
  }

  answer(
    status: CertificateStatus,
    changes: Partial<OcspAnswer> & { certId?: Uint8Array; from?: number; until?: number } = {},
  ): Buffer {
    const { certId, from = nowMs, until = nowMs + hourMs, ...rest } = changes;
    return encodeOcspResponse({
      signer: signerOf(this.responder),
      answers: [
        {
          certId: certId ?? encodeCertId(this.issuer, this.serialNumber, "sha1"),
          status,
          thisUpdateMs: from,
          nextUpdateMs: until,
        },
      ],
      producedAtMs: nowMs,
      nonce: undefined,
      ...rest,
    });
  }

  verify(response: Uint8Array, changes: Partial<OcspVerifyRequest> = {}) {
    const { issuer, serialNumber } = this;
    return verifyOcspResponse({
      response,
      issuer,
      serialNumber,
      nonce: undefined,
      nonceRequired: false,
      nowMs,
      ...changes,
    });
  }
}

const good: CertificateStatus = { kind: "good" };
const revoked: CertificateStatus = {
  kind: "revoked",
  revokedAtMs: nowMs - hourMs,
  reason: RevocationReason.keyCompromise,
};

describe("OCSP", () => {
  let world: World;
  let openssl: Openssl;

  before(async () => {
    world = await World.make("P-256");
    openssl = new Openssl();
  });
  after(() => openssl[Symbol.dispose]());

  it("answers good, revoked with time and reason, and unknown (RFC 6960 §2.2)", () => {
    const untilMs = nowMs + hourMs;
    assert.deepEqual(world.verify(world.answer(good)), { kind: "good", untilMs });
    assert.deepEqual(world.verify(world.answer(revoked)), {
      kind: "revoked",
      untilMs,
      revokedAtMs: nowMs - hourMs,
      reason: "keyCompromise",
    });
    const plain = { ...revoked, reason: RevocationReason.unspecified };
    const verified = world.verify(world.answer(plain));
    assert.ok(verified.kind === "revoked" && verified.reason === "unspecified");
    assert.deepEqual(world.verify(world.answer({ kind: "unknown" })), { kind: "unknown", untilMs });
  });

  for (const algorithm of ["P-256", "Ed25519"] as const) {
    it(`answers openssl, nonce and all (${algorithm})`, { skip: noOpenssl }, async () => {
      const { root, issuing, device, responder, issuer } = await World.make(algorithm);
      const files = {
        issuer: openssl.file(issuing.certificate),
        cert: openssl.file(device.certificate),
        ca: openssl.file(root.certificate + issuing.certificate),
      };
      const expected = [
        [good, /: good/],
        [revoked, /: revoked[^]*Reason: keyCompromise/],
        [{ kind: "unknown" } as const, /: unknown/],
      ] as const;
      for (const hash of ["-sha1", "-sha256"]) {
        for (const [status, text] of expected) {
          const asked = openssl.file("");
          openssl.run(["ocsp", "-issuer", files.issuer, hash, "-cert", files.cert, "-reqout", asked]);
          const request = requestOf(readFileSync(asked));
          const [certId] = request.certIds;
          assert.ok(certId !== undefined && isIssuedBy(certId, issuer));
          assert.ok(request.nonce !== undefined);
          const answer = (answerNonce: Uint8Array | undefined) =>
            openssl.file(
              encodeOcspResponse({
                signer: signerOf(responder),
                answers: [{ certId: certId.der, status, thisUpdateMs: nowMs, nextUpdateMs: nowMs + hourMs }],
                producedAtMs: nowMs,
                nonce: answerNonce,
              }),
            );
          const check = (response: string) =>
            openssl.run([
              ["ocsp", "-issuer", files.issuer, hash, "-cert", files.cert, "-reqin", asked],
              ["-respin", response, "-CAfile", files.ca, "-no_nonce"],
            ]).text;
          const taken = check(answer(request.nonce));
          assert.match(taken, /Response verify OK/);
          assert.match(taken, text);
          assert.doesNotMatch(taken, /WARNING|nonce/i);
          const checkNonce = (response: string) =>
            openssl.run(["ocsp", "-reqin", asked, "-respin", response, "-CAfile", files.ca]).text;
          assert.match(checkNonce(answer(request.nonce)), /^Response verify OK/);
          assert.match(checkNonce(answer(randomBytes(16))), /Nonce Verify error/);
        }
      }
    });

    it(`understands openssl's responder (${algorithm})`, { skip: noOpenssl }, async () => {
      const there = await World.make(algorithm);
      const { issuing, responder, serialNumber, issuer } = there;
      const row = (status: string) => openssl.file(`${status}\t${serialNumber}\tunknown\t/CN=d\n`);
      const indexes = [
        [row("V\t301231235959Z\t"), "good"],
        [row("R\t301231235959Z\t260101120000Z,superseded"), "revoked"],
        [openssl.file(""), "unknown"],
      ] as const;
      for (const [index, kind] of indexes) {
        const asked = openssl.file(encodeOcspRequest({ serialNumber, issuer, nonce }));
        const response = openssl.file("");
        const { text } = openssl.run([
          ["ocsp", "-index", index, "-CA", openssl.file(issuing.certificate), "-ndays", "1"],
          ["-rsigner", openssl.file(responder.certificate), "-rkey", openssl.file(responder.key)],
          ["-reqin", asked, "-respout", response],
        ]);
        const result = there.verify(readFileSync(response), {
          nonce,
          nonceRequired: true,
          nowMs: Date.now(),
        });
        assert.equal(result.kind, kind, text + JSON.stringify(result));
        if (result.kind === "revoked") assert.equal(result.reason, "superseded");
      }
    });
  }

  it("agrees with pkijs in both directions", async () => {
    const { issuing, device, root, issuer, serialNumber } = world;
    const [issuerCertificate, certificate, rootCertificate] = [issuing, device, root].map((pair) =>
      OracleCertificate.fromBER(Uint8Array.from(derOf(pair.certificate))),
    );
    assert.ok(issuerCertificate !== undefined && certificate !== undefined && rootCertificate !== undefined);
    const oracle = new OracleRequest();
    await oracle.createForCertificate(certificate, { hashAlgorithm: "SHA-256", issuerCertificate });
    const request = requestOf(new Uint8Array(oracle.toSchema(true).toBER(false)));
    const [certId] = request.certIds;
    assert.ok(certId !== undefined && isIssuedBy(certId, issuer));
    assert.equal(certId.serialNumber, serialNumber);
    const ours = OracleRequest.fromBER(Uint8Array.from(encodeOcspRequest({ serialNumber, issuer, nonce })));
    assert.equal(ours.tbsRequest.requestList.length, 1);

    for (const [status, code] of [
      [good, 0],
      [revoked, 1],
      [{ kind: "unknown" } as const, 2],
    ] as const) {
      const bytes = world.answer(status, { certId: certId.der });
      const answer = OracleResponse.fromBER(Uint8Array.from(bytes));
      assert.equal((await answer.getCertificateStatus(certificate, issuerCertificate)).status, code);
      const basic = BasicOCSPResponse.fromBER(
        answer.responseBytes?.response.valueBlock.valueHexView ?? new Uint8Array(),
      );
      assert.equal(await basic.verify({ trustedCerts: [rootCertificate, issuerCertificate] }), true);
    }
  });

  it("refuses what pkijs takes: an answer that is nine days old", () => {
    const stale = world.answer(good, { from: nowMs - 10 * dayMs, until: nowMs - 9 * dayMs });
    const result = world.verify(stale);
    assert.ok(result.kind === "invalid");
    assert.match(result.reason, /out of date/);
  });

  it("is refused with a reason when it is stale, replayed, about another, or not signed by whom it should be", async () => {
    const { issuing, root, device, serialNumber, issuer } = world;
    const stranger = await World.make("P-256");
    const later = await issueOcspResponder({
      validity: { notBeforeMs: nowMs - 3 * dayMs, notAfterMs: nowMs - dayMs / 2 },
      issuer: issuing,
    });
    const ofRoot = await issueOcspResponder({ validity, issuer: root });
    const changed = world.answer(good);
    const at = changed.indexOf(Buffer.from([0x80, 0x00]));
    assert.ok(at > 0);
    // From good to unknown, the shortest lie there is.
    changed[at] = 0x82;
    const otherNumber = encodeCertId(issuer, "4711", "sha1");
    const otherIssuer = encodeCertId(fieldsOf(root.certificate), serialNumber, "sha256");
    const borrowed = new OcspSigner({
      certificate: derOf(world.responder.certificate),
      fields: fieldsOf(world.responder.certificate),
      key: device.key,
    });
    const refused: readonly (readonly [Uint8Array, RegExp, Partial<OcspVerifyRequest>?])[] = [
      [world.answer(good), /out of date/, { nowMs: nowMs + hourMs }],
      [world.answer(good), /future/, { nowMs: nowMs - 301_000 }],
      [world.answer(good, { nonce: randomBytes(32) }), /replayed/, { nonce }],
      [world.answer(good, { nonce: nonce.subarray(1) }), /replayed/, { nonce }],
      [world.answer(good), /no nonce/, { nonce, nonceRequired: true }],
      [world.answer(good, { certId: otherNumber }), /another certificate/],
      [world.answer(good, { certId: otherIssuer }), /another certificate/],
      [world.answer(good, { signer: signerOf(device) }), /not for signing OCSP/],
      [world.answer(good, { signer: signerOf(ofRoot) }), /not from the authority/],
      [world.answer(good, { signer: signerOf(stranger.responder) }), /not from the authority/],
      [world.answer(good, { signer: signerOf(later) }), /not valid at this time/],
      [world.answer(good, { signer: borrowed }), /not its responder's/],
      [changed, /not its responder's/],
      [encodeOcspFailure(OcspFailure.tryLater), /try later/],
      [encodeOcspFailure(OcspFailure.unauthorized), /unauthorized/],
      [Buffer.from("<html>"), /cannot be read/],
      [Buffer.alloc(0), /cannot be read/],
    ];
    for (const [response, reason, changes] of refused) {
      const result = world.verify(response, changes);
      assert.ok(result.kind === "invalid", String(reason));
      assert.match(result.reason, reason);
    }
    // And from the other side: the same answers where they are right.
    assert.equal(world.verify(world.answer(good, { nonce }), { nonce, nonceRequired: true }).kind, "good");
    assert.equal(world.verify(world.answer(good), { nonce }).kind, "good");
    assert.equal(world.verify(world.answer(good, { nonce }), {}).kind, "good");
    assert.equal(world.verify(world.answer(good, { signer: signerOf(issuing) })).kind, "good");
  });

  it("takes nonces of 1 to 128 bytes and calls others malformed (RFC 9654 §2.1)", () => {
    const { issuer, serialNumber } = world;
    for (const length of [1, 16, 32, 128]) {
      const sent = randomBytes(length);
      const request = requestOf(encodeOcspRequest({ serialNumber, issuer, nonce: sent }));
      assert.deepEqual(Buffer.from(request.nonce ?? []), sent);
    }
    for (const length of [0, 129]) {
      const bytes = encodeOcspRequest({ serialNumber, issuer, nonce: new Uint8Array(length) });
      assert.equal(decodeOcspRequest(bytes).kind, "malformed", String(length));
    }
  });

  it("asks about a bounded number of certificates, and about one at least", () => {
    const one = sequence(encodeCertId(world.issuer, "01", "sha1"));
    const about = (count: number) =>
      sequence(sequence(sequence(...Array.from({ length: count }, () => one))));
    assert.equal(requestOf(about(ocspCertIdsMax)).certIds.length, ocspCertIdsMax);
    assert.equal(decodeOcspRequest(about(ocspCertIdsMax + 1)).kind, "malformed");
    assert.equal(decodeOcspRequest(about(0)).kind, "malformed");
  });

  it("costs well below a millisecond to answer", () => {
    const signer = signerOf(world.responder);
    const started = process.cpuUsage();
    for (let round = 0; round < 500; round += 1) world.answer(good, { signer });
    const eachMs = process.cpuUsage(started).user / 1000 / 500;
    assert.ok(eachMs < 1, `${eachMs} ms`);
  });

  it("never throws or hangs when it is cut anywhere or any byte is changed", () => {
    const { issuer, serialNumber } = world;
    const request = encodeOcspRequest({ serialNumber, issuer, nonce });
    const response = world.answer(revoked, { nonce });
    for (let length = 0; length < request.length; length += 1)
      assert.equal(decodeOcspRequest(request.subarray(0, length)).kind, "malformed");
    for (let length = 0; length < response.length; length += 1)
      assert.equal(decodeOcspResponse(response.subarray(0, length)).kind, "malformed");
    fc.assert(
      fc.property(fc.nat(), fc.integer({ min: 1, max: 255 }), (at, by) => {
        const changedRequest = Buffer.from(request);
        changedRequest[at % request.length] = (changedRequest[at % request.length] ?? 0) ^ by;
        decodeOcspRequest(changedRequest);
        const changed = Buffer.from(response);
        changed[at % response.length] = (changed[at % response.length] ?? 0) ^ by;
        // Whatever was changed, it is never taken for good.
        assert.notEqual(world.verify(changed, { nonce, nonceRequired: true }).kind, "good");
      }),
      { numRuns: 400 },
    );
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 300 }), (random) => {
        for (const bytes of [
          random,
          sequence(random),
          sequence(element(0x0a, Uint8Array.of(0)), octetString(random)),
        ]) {
          decodeOcspRequest(bytes);
          decodeOcspResponse(bytes);
          assert.equal(world.verify(bytes).kind, "invalid");
        }
      }),
    );
    assert.equal(decodeOcspRequest(sequence(integer(1))).kind, "malformed");
  });
});
