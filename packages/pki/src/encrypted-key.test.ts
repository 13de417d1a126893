import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { createPrivateKey, generateKeyPairSync } from "node:crypto";
import { describe, it } from "node:test";

import { encryptPrivateKey } from "./encrypted-key.ts";

describe("encrypted private key", () => {
  for (const kind of ["P-256", "Ed25519"] as const) {
    it(`is read by node:crypto and openssl with the passphrase alone (${kind})`, () => {
      const { privateKey } =
        kind === "P-256"
          ? generateKeyPairSync("ec", { namedCurve: "P-256" })
          : generateKeyPairSync("ed25519");
      const der = privateKey.export({ type: "pkcs8", format: "der" });
      const passphrase = "päss phrase: 12";
      const pem = encryptPrivateKey(der, passphrase);
      assert.match(pem, /^-----BEGIN ENCRYPTED PRIVATE KEY-----\n/);
      const read = createPrivateKey({ key: pem, passphrase });
      assert.deepEqual(read.export({ type: "pkcs8", format: "der" }), der);
      assert.throws(() => createPrivateKey({ key: pem, passphrase: "pass phrase: 12" }));
      assert.throws(() => createPrivateKey({ key: pem, passphrase: "" }));
      const env = { ...process.env, PASSPHRASE: passphrase };
      const plain = execFileSync("openssl", ["pkey", "-passin", "env:PASSPHRASE"], { input: pem, env });
      assert.ok(createPrivateKey(plain).equals(privateKey));
      assert.notEqual(encryptPrivateKey(der, passphrase), pem);
    });
  }
});
