import assert from "node:assert/strict";
import { describe, it } from "node:test";

import { hex, unhex } from "../testing.ts";
import vectors from "../vectors/cbke.json" with { type: "json" };
import {
  compressedPoint,
  type CurvePoint,
  fieldElementBytes,
  decompressedPoint,
  isOnCurve,
  scaled,
  sect163k1,
  sect283k1,
} from "./binary-curve.ts";
import {
  cbkeKeys,
  type CbkeParty,
  cbkeSuite1,
  cbkeSuite2,
  certificateKey,
  certificateSubject,
  confirmation,
  mqvSecret,
  publicKey,
} from "./cbke.ts";

const suites = [
  { suite: cbkeSuite1, ...vectors.suite1 },
  { suite: cbkeSuite2, ...vectors.suite2 },
] as const;
const { initiator, responder } = vectors.suite1;
const authorityKey = unhex(vectors.suite1.authorityKey);

function keyOf(certificate: string, suite = cbkeSuite1, authority = authorityKey): CurvePoint {
  const key = certificateKey(suite, unhex(certificate), authority);
  assert.ok(key !== undefined);
  return key;
}

function party(side: { readonly address: string; readonly ephemeralKey: string }): CbkeParty {
  return { address: unhex(side.address), ephemeralKey: unhex(side.ephemeralKey) };
}

/** Bytes in hexadecimal, or that there are none. */
function shown(bytes: Uint8Array | undefined): string {
  return bytes === undefined ? "nothing" : hex(bytes);
}

describe("key establishment by certificates (thesis 6.3; Smart Energy Annex C.5, C.6)", () => {
  for (const vector of suites) {
    const { suite } = vector;
    const { curve } = suite;
    const authority = unhex(vector.authorityKey);

    it(`takes public keys out of implicit certificates on ${curve.name} (ECQV)`, () => {
      for (const side of [vector.initiator, vector.responder]) {
        const point = compressedPoint(curve, keyOf(side.certificate, suite, authority));
        assert.equal(hex(point), shown(publicKey(curve, unhex(side.privateKey))));
        assert.equal(shown(publicKey(curve, unhex(side.ephemeralPrivateKey))), side.ephemeralKey);
        assert.equal(shown(certificateSubject(suite, unhex(side.certificate))), side.address);
      }
      const point = compressedPoint(curve, keyOf(vector.initiator.certificate, suite, authority));
      assert.equal(hex(point), vector.initiator.publicKey);
    });

    it(`gives both sides the same secret on ${curve.name} (ECMQV)`, () => {
      for (const [own, peer] of [
        [vector.initiator, vector.responder],
        [vector.responder, vector.initiator],
      ] as const) {
        const secret = mqvSecret(curve, {
          privateKey: unhex(own.privateKey),
          ephemeralPrivateKey: unhex(own.ephemeralPrivateKey),
          peerKey: keyOf(peer.certificate, suite, authority),
          peerEphemeralKey: unhex(peer.ephemeralKey),
        });
        assert.equal(shown(secret), vector.secret);
      }
    });
  }

  it("derives link key and confirmations from the secret", () => {
    const { macKey, linkKey } = cbkeKeys(unhex(vectors.suite1.secret));
    assert.deepEqual([hex(macKey), hex(linkKey)], [vectors.suite1.macKey, vectors.suite1.linkKey]);
    const mac = confirmation(macKey, "responder", party(responder), party(initiator));
    assert.equal(hex(mac), vectors.suite1.macOfResponder);
    const other = confirmation(macKey, "initiator", party(initiator), party(responder));
    assert.notEqual(hex(other), hex(mac));
  });

  it("gives another secret to whoever has the certificate and not its private key", () => {
    const secret = mqvSecret(sect163k1, {
      privateKey: unhex(responder.privateKey),
      ephemeralPrivateKey: unhex(initiator.ephemeralPrivateKey),
      peerKey: keyOf(responder.certificate),
      peerEphemeralKey: unhex(responder.ephemeralKey),
    });
    assert.notEqual(shown(secret), vectors.suite1.secret);
  });

  it("refuses what is no certificate, no point and no private key", () => {
    const certificate = unhex(initiator.certificate);
    assert.equal(certificateKey(cbkeSuite1, certificate.subarray(1), authorityKey), undefined);
    assert.equal(certificateSubject(cbkeSuite2, certificate), undefined);
    const changed = certificate.slice();
    changed[0] = 9;
    assert.equal(certificateKey(cbkeSuite1, changed, authorityKey), undefined);
    assert.equal(publicKey(sect163k1, new Uint8Array(21)), undefined);
    assert.equal(publicKey(sect163k1, fieldElementBytes(sect163k1, sect163k1.order)), undefined);
    const bad = new Uint8Array(22);
    bad[0] = 2;
    assert.equal(decompressedPoint(sect163k1, bad), undefined);
  });
});

describe("the curves (SEC 2)", () => {
  for (const curve of [sect163k1, sect283k1]) {
    it(`${curve.name}: the generator lies on it, has its order, and survives compression`, () => {
      assert.ok(isOnCurve(curve, curve.generator));
      assert.equal(scaled(curve, curve.generator, curve.order), undefined);
      const point = scaled(curve, curve.generator, 0x1234_5678_9abc_def1n);
      assert.ok(point !== undefined && isOnCurve(curve, point));
      assert.deepEqual(decompressedPoint(curve, compressedPoint(curve, point)), point);
      const negative = { x: point.x, y: point.x ^ point.y };
      assert.deepEqual(decompressedPoint(curve, compressedPoint(curve, negative)), negative);
    });
  }
});
