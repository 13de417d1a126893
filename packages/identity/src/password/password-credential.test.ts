import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { describe, it } from "node:test";

import { createPasswordCredential, generatePassword } from "./password-credential.ts";
import { passwordBytes, verifyPassword } from "./password-hash.ts";
import { deriveScramKeys, hmac } from "./scram-keys.ts";

/** The exchange of RFC 7677 §3. */
const rfc7677 = {
  password: "pencil",
  salt: "W22ZaJ0SNY7soEsUEjb6gQ==",
  iterations: 4096,
  authMessage:
    "n=user,r=rOprNGfwEbeRWgbNEkqO,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096,c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0",
  proof: "dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=",
  serverSignature: "6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=",
} as const;

describe("SCRAM keys", () => {
  it("check the proof and make the signature of RFC 7677 §3", async () => {
    const { password, salt, iterations, authMessage, proof, serverSignature } = rfc7677;
    const keys = await deriveScramKeys(passwordBytes(password), {
      salt: Buffer.from(salt, "base64"),
      iterations,
    });
    const clientSignature = hmac(Buffer.from(keys.storedKey, "base64"), authMessage);
    const clientKey = Buffer.from(proof, "base64").map((byte, index) => byte ^ (clientSignature[index] ?? 0));
    assert.equal(createHash("sha256").update(clientKey).digest("base64"), keys.storedKey);
    assert.equal(
      hmac(Buffer.from(keys.serverKey, "base64"), authMessage).toString("base64"),
      serverSignature,
    );
  });

  it("are kept of a generated password, never of one that somebody chose", async () => {
    const generated = await createPasswordCredential(generatePassword(), { generated: true });
    assert.equal(generated.scram?.iterations, 15_000);
    const chosen = await createPasswordCredential("correct horse battery", { generated: false });
    assert.deepEqual(Object.keys(chosen), ["hash"]);
    assert.equal(await verifyPassword(chosen.hash, passwordBytes("correct horse battery")), true);
  });

  it("are refused for a chosen password that is on everybody's list", async () => {
    await assert.rejects(createPasswordCredential("raspberry", { generated: false }), RangeError);
  });
});

describe("generated passwords", () => {
  it("have 160 bits in 32 characters that nothing needs to quote, and differ", () => {
    const passwords = Array.from({ length: 100 }, generatePassword);
    for (const password of passwords) assert.match(password, /^[a-km-z2-8]{32}$/);
    assert.equal(new Set(passwords).size, 100);
    assert.equal(new Set(passwords.join("")).size, 32);
  });
});
