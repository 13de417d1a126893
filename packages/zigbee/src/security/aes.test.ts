import assert from "node:assert/strict";
import { createCipheriv } from "node:crypto";
import { describe, it } from "node:test";

import * as fc from "fast-check";

import { hex, unhex } from "../testing.ts";
import { createAesKey, decryptBlock, encryptBlock } from "./aes.ts";

const block = fc.uint8Array({ minLength: 16, maxLength: 16 });

describe("AES-128", () => {
  it("encrypts the example of FIPS 197 Appendix B and decrypts it again", () => {
    const key = createAesKey(unhex("2b7e151628aed2a6abf7158809cf4f3c"));
    const encrypted = encryptBlock(key, unhex("3243f6a8885a308d313198a2e0370734"));
    assert.equal(hex(encrypted), "3925841d02dc09fbdc118597196a0b32");
    assert.equal(hex(decryptBlock(key, encrypted)), "3243f6a8885a308d313198a2e0370734");
  });

  it("agrees with node:crypto in both directions", () => {
    fc.assert(
      fc.property(block, block, (secret, plain) => {
        const cipher = createCipheriv("aes-128-ecb", secret, null).setAutoPadding(false);
        const expected = Buffer.concat([cipher.update(plain), cipher.final()]);
        const key = createAesKey(secret);
        assert.deepEqual(Buffer.from(encryptBlock(key, plain)), expected);
        assert.deepEqual(decryptBlock(key, expected), plain);
      }),
      { numRuns: 500 },
    );
  });

  it("refuses keys and blocks of other lengths", () => {
    assert.throws(() => createAesKey(new Uint8Array(15)), RangeError);
    assert.throws(() => encryptBlock(createAesKey(new Uint8Array(16)), new Uint8Array(17)), RangeError);
  });
});
