import assert from "node:assert/strict";
import { createCipheriv } from "node:crypto";
import { describe, it } from "node:test";

import * as fc from "fast-check";

import vectors from "../vectors/ccm-star.json" with { type: "json" };
import { hex, unhex } from "../testing.ts";
import { createAesKey } from "./aes.ts";
import { type CcmStarInput, openCcmStar, peekCcmStar, sealCcmStar } from "./ccm-star.ts";
import { joined } from "./mmo-hash.ts";
import { type SecurityLevel, securityLevel, securityLevels } from "./levels.ts";

type Parts = {
  readonly header: Uint8Array;
  readonly payload: Uint8Array;
  readonly nonce: Uint8Array;
  readonly level: SecurityLevel;
};

function inputOf(
  header: Uint8Array,
  sealed: Uint8Array,
  nonce: Uint8Array,
  level: SecurityLevel,
): CcmStarInput {
  const bytes = joined(header, sealed);
  const payloadEnd = bytes.length - level.micBytes;
  return {
    bytes,
    start: 0,
    payloadStart: header.length,
    payloadEnd,
    nonce,
    level,
    patchOffset: -1,
    patchValue: 0,
  };
}

/** What node:crypto makes of it. */
function oracle(key: Uint8Array, { header, payload, nonce, level }: Parts): Uint8Array {
  if (level.micBytes === 0) {
    if (!level.encrypted) return payload;
    const iv = joined(Uint8Array.of(1), nonce, Uint8Array.of(0, 1));
    return createCipheriv("aes-128-ctr", key, iv).update(payload);
  }
  const cipher = createCipheriv("aes-128-ccm", key, nonce, { authTagLength: level.micBytes });
  const secret = level.encrypted ? payload : new Uint8Array(0);
  const open = level.encrypted ? header : joined(header, payload);
  cipher.setAAD(open, { plaintextLength: secret.length });
  const encrypted = joined(cipher.update(secret), cipher.final());
  return joined(level.encrypted ? encrypted : payload, cipher.getAuthTag());
}

const secretBytes = fc.uint8Array({ minLength: 16, maxLength: 16 });

describe("CCM*", () => {
  for (const { name, level, key, nonce, header, payload, sealed } of vectors.vectors) {
    it(`seals and opens the vector ${name}`, () => {
      const secret = createAesKey(unhex(key));
      const parts = {
        header: unhex(header),
        payload: unhex(payload),
        nonce: unhex(nonce),
        level: securityLevel(level),
      };
      assert.equal(hex(sealCcmStar(secret, parts)), sealed);
      const output = new Uint8Array(64);
      const count = openCcmStar(
        secret,
        inputOf(parts.header, unhex(sealed), parts.nonce, parts.level),
        output,
      );
      assert.equal(hex(output.subarray(0, count)), payload);
    });
  }

  const parts = fc.record({
    header: fc.uint8Array({ minLength: 1, maxLength: 60 }),
    payload: fc.uint8Array({ maxLength: 100 }),
    nonce: fc.uint8Array({ minLength: 13, maxLength: 13 }),
    level: fc.constantFrom(...securityLevels),
  });

  it("agrees with node:crypto at all eight levels, and opens what it sealed", () => {
    fc.assert(
      fc.property(secretBytes, parts, (secret, given) => {
        const key = createAesKey(secret);
        const sealed = sealCcmStar(key, given);
        assert.deepEqual(Buffer.from(sealed), Buffer.from(oracle(secret, given)));
        const output = new Uint8Array(128);
        const input = inputOf(given.header, sealed, given.nonce, given.level);
        assert.equal(openCcmStar(key, input, output), given.payload.length);
        assert.deepEqual(output.slice(0, given.payload.length), given.payload);
        if (given.payload.length > 0) assert.equal(peekCcmStar(key, input), given.payload[0]);
      }),
      { numRuns: 500 },
    );
  });

  it("refuses one changed bit anywhere, at every level that has an integrity code", () => {
    fc.assert(
      fc.property(secretBytes, parts, fc.nat(), (secret, given, position) => {
        fc.pre(given.level.micBytes > 0);
        const key = createAesKey(secret);
        const input = inputOf(given.header, sealCcmStar(key, given), given.nonce, given.level);
        const bit = position % (8 * input.bytes.length);
        input.bytes[bit >> 3] = (input.bytes[bit >> 3] ?? 0) ^ (1 << (bit & 7));
        assert.equal(openCcmStar(key, input, new Uint8Array(128)), -1);
      }),
      { numRuns: 300 },
    );
  });

  it("authenticates the security control with the level that was not sent (Zigbee §4.3.1.1)", () => {
    const key = createAesKey(new Uint8Array(16));
    const nonce = new Uint8Array(13);
    const level = securityLevel(5);
    const sealed = sealCcmStar(key, {
      header: Uint8Array.of(1, 0x2d),
      payload: Uint8Array.of(7),
      nonce,
      level,
    });
    const input = inputOf(Uint8Array.of(1, 0x28), sealed, nonce, level);
    assert.equal(openCcmStar(key, input, new Uint8Array(8)), -1);
    assert.equal(openCcmStar(key, { ...input, patchOffset: 1, patchValue: 0x2d }, new Uint8Array(8)), 1);
  });

  it("refuses a frame that is too short for its integrity code", () => {
    const key = createAesKey(new Uint8Array(16));
    for (let length = 0; length < 6; length++) {
      const input = inputOf(
        Uint8Array.of(1, 2),
        new Uint8Array(length),
        new Uint8Array(13),
        securityLevel(6),
      );
      assert.equal(openCcmStar(key, input, new Uint8Array(8)), -1);
    }
  });
});
