import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { describe, it } from "node:test";

import { parseEui64 } from "../eui64.ts";
import { hex } from "../testing.ts";
import { compressedPoint, sect163k1 } from "./binary-curve.ts";
import { cbkeSuite1, certificateKey, certificateSubject, mqvSecret, publicKey } from "./cbke.ts";
import { CertificateAuthority, drawPrivateKey } from "./certificate-authority.ts";

/** Always the same bytes for one name, so that a failure can be repeated. */
function randomOf(name: string): (count: number) => Uint8Array {
  let drawn = 0;
  return (count) => createHash("sha256").update(`${name} ${drawn++}`).digest().subarray(0, count);
}

const subjects = ["00:0d:6f:00:01:02:03:04", "00:0d:6f:00:01:02:03:05"].map((text) => {
  const address = parseEui64(text);
  assert.ok(address !== undefined);
  return address;
});

function issued(name: string) {
  const authority = new CertificateAuthority(Buffer.from("testauth"), randomOf(name));
  return { authority, sides: subjects.map((subject) => authority.issue(subject)) };
}

describe("CertificateAuthority (SEC 4, Smart Energy Annex C)", () => {
  it("issues certificates whose public key belongs to the private key that comes with them", () => {
    for (const name of ["one", "two", "three"]) {
      const { authority, sides } = issued(name);
      for (const [index, { certificate, privateKey }] of sides.entries()) {
        assert.equal(certificate.length, cbkeSuite1.certificateBytes);
        const point = certificateKey(cbkeSuite1, certificate, authority.publicKey);
        assert.ok(point !== undefined);
        const own = publicKey(sect163k1, privateKey);
        assert.ok(own !== undefined);
        assert.equal(hex(compressedPoint(sect163k1, point)), hex(own));
        const subject = certificateSubject(cbkeSuite1, certificate);
        assert.equal(hex(subject ?? new Uint8Array(0)), subjects[index]?.replaceAll(":", ""));
      }
    }
  });

  it("lets two devices agree, and nobody with a certificate of another authority", () => {
    const { authority, sides } = issued("one");
    const stranger = issued("two").sides[1];
    const [first, second] = sides;
    assert.ok(first !== undefined && second !== undefined && stranger !== undefined);
    const random = randomOf("ephemeral");
    const drawn = [drawPrivateKey(random), drawPrivateKey(random)] as const;
    const secretOf = (own: typeof first, peer: typeof first, which: 0 | 1): string => {
      const peerKey = certificateKey(cbkeSuite1, peer.certificate, authority.publicKey);
      const peerEphemeralKey = publicKey(sect163k1, drawn[which === 0 ? 1 : 0]);
      assert.ok(peerKey !== undefined && peerEphemeralKey !== undefined);
      const { privateKey } = own;
      const ephemeralPrivateKey = drawn[which];
      return hex(
        mqvSecret(sect163k1, { privateKey, ephemeralPrivateKey, peerKey, peerEphemeralKey }) ??
          new Uint8Array(0),
      );
    };
    assert.equal(secretOf(first, second, 0), secretOf(second, first, 1));
    assert.notEqual(secretOf(first, stranger, 0), secretOf(stranger, first, 1));
  });
});
