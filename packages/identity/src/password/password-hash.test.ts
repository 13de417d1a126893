import assert from "node:assert/strict";
import { describe, it } from "node:test";

import {
  hashOfNobody,
  hashPassword,
  isPasswordHash,
  passwordBytes,
  passwordBytesMax,
  verifyPassword,
} from "./password-hash.ts";

/** From test.c of the reference implementation, https://github.com/P-H-C/phc-winner-argon2. */
const referenceHash =
  "$argon2id$v=19$m=65536,t=2,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc";

describe("password hashes", () => {
  it("verify the password they were made of, and no other", async () => {
    const hash = await hashPassword(passwordBytes("correct horse"));
    assert.match(hash, /^\$argon2id\$v=19\$m=19456,t=2,p=1\$[A-Za-z0-9+/]{22}\$[A-Za-z0-9+/]{43}$/);
    assert.equal(await verifyPassword(hash, passwordBytes("correct horse")), true);
    for (const wrong of ["correct horsf", "correct hors", "correct horse ", ""])
      assert.equal(await verifyPassword(hash, passwordBytes(wrong)), false, wrong);
  });

  it("are salted", async () => {
    const password = passwordBytes("correct horse");
    assert.notEqual(await hashPassword(password), await hashPassword(password));
  });

  it("agree with the reference implementation", async () => {
    assert.equal(await verifyPassword(referenceHash, passwordBytes("password")), true);
    assert.equal(await verifyPassword(referenceHash, passwordBytes("passwore")), false);
  });

  it("take a character typed in two ways as one (RFC 8265 §4.2)", async () => {
    const hash = await hashPassword(passwordBytes("caf\u00e9"));
    assert.equal(await verifyPassword(hash, passwordBytes("cafe\u0301")), true);
  });

  it("are not made of nothing, nor of a book", async () => {
    await assert.rejects(hashPassword(new Uint8Array()), RangeError);
    await assert.rejects(hashPassword(new Uint8Array(passwordBytesMax + 1)), RangeError);
    const hash = await hashPassword(new Uint8Array(passwordBytesMax).fill(97));
    assert.equal(await verifyPassword(hash, new Uint8Array(passwordBytesMax + 1).fill(97)), false);
  });

  it("of nobody are hashes that no password has", async () => {
    const hash = hashOfNobody();
    assert.equal(isPasswordHash(hash), true);
    assert.equal(await verifyPassword(hash, passwordBytes("x")), false);
  });

  const tag = "A".repeat(43);
  for (const [name, hash] of [
    ["another algorithm", `$argon2i$v=19$m=65536,t=2,p=1$c29tc2FsdDE$${tag}`],
    ["another version", `$argon2id$v=16$m=65536,t=2,p=1$c29tc2FsdDE$${tag}`],
    ["more memory than the machine should give", `$argon2id$v=19$m=4194304,t=2,p=1$c29tc2FsdDE$${tag}`],
    ["more passes than anybody waits for", `$argon2id$v=19$m=65536,t=99,p=1$c29tc2FsdDE$${tag}`],
    ["too little memory for its lanes", `$argon2id$v=19$m=8,t=2,p=2$c29tc2FsdDE$${tag}`],
    ["a salt that is too short", `$argon2id$v=19$m=65536,t=2,p=1$c29tc2Fs$${tag}`],
    ["a number with a leading zero", `$argon2id$v=19$m=065536,t=2,p=1$c29tc2FsdDE$${tag}`],
    ["something behind it", `$argon2id$v=19$m=65536,t=2,p=1$c29tc2FsdDE$${tag}\n`],
    ["a password in the clear", "geheim"],
    ["nothing", ""],
  ] as const) {
    it(`with ${name} are none`, async () => {
      assert.equal(isPasswordHash(hash), false);
      assert.equal(await verifyPassword(hash, passwordBytes("password")), false);
    });
  }
});
