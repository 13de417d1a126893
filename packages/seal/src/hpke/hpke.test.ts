import assert from "node:assert/strict";
import { createPublicKey, diffieHellman, type KeyObject } from "node:crypto";
import { describe, it } from "node:test";

import {
  Aes128Gcm,
  Aes256Gcm,
  CipherSuite,
  DhkemP256HkdfSha256,
  DhkemX25519HkdfSha256,
  HkdfSha256,
} from "@hpke/core";

import { montgomeryPrivateKey, montgomeryPublicKey } from "../keys/montgomery.ts";
import { rawPrivateKey, testKey } from "../testing.ts";
import vectors from "../vectors/rfc9180.json" with { type: "json" };
import { hpkeRecipient, hpkeSender } from "./hpke.ts";
import { deserializePublicKey, serializePublicKey } from "./kem.ts";
import { aeads, kems, type AeadName, type HpkeSuite, type KemName } from "./suite.ts";

const info = Buffer.from(vectors.info, "hex");
const plaintext = Buffer.from(vectors.plaintext, "hex");

function isKem(name: string): name is KemName {
  return name in kems;
}

function isAead(name: string): name is AeadName {
  return name in aeads;
}

function suiteOf({ kem, aead }: { readonly kem: string; readonly aead: string }): HpkeSuite {
  return isKem(kem) && isAead(aead) ? { kem, aead } : assert.fail();
}

for (const vector of vectors.vectors) {
  const suite = suiteOf(vector);
  describe(`HPKE with ${vector.kem} and ${vector.aead}`, () => {
    const recipient = rawPrivateKey(suite.kem, Buffer.from(vector.skRm, "hex"));
    const ephemeral = rawPrivateKey(suite.kem, Buffer.from(vector.skEm, "hex"));
    const ciphertexts: Readonly<Record<string, string>> = vector.ciphertexts;

    it("seals as the vectors of RFC 9180 appendix A, and opens them", () => {
      const { enc, context } = hpkeSender({ suite, info, recipient: createPublicKey(recipient), ephemeral });
      const opener = hpkeRecipient({ suite, info, recipient, enc: Buffer.from(vector.enc, "hex") });
      assert.equal(enc.toString("hex"), vector.enc);
      for (let sequence = 0; sequence <= 256; sequence++) {
        const aad = Buffer.from(`Count-${sequence}`);
        const sealed = context.seal(plaintext, aad);
        const expected = ciphertexts[`${sequence}`];
        if (expected !== undefined) assert.equal(sealed.toString("hex"), expected, `sequence ${sequence}`);
        assert.deepEqual(opener?.open(sealed, aad), plaintext);
      }
    });

    it("does not open out of order, with other data or another key, and goes on after a forgery", () => {
      const { enc, context } = hpkeSender({ suite, info, recipient: createPublicKey(recipient) });
      const [first, second] = [context.seal(plaintext), context.seal(plaintext)];
      const open = hpkeRecipient({ suite, info, recipient, enc }) ?? assert.fail();
      assert.equal(open.open(second), undefined);
      assert.equal(open.open(first, Buffer.from("x")), undefined);
      assert.equal(open.open(first.subarray(0, 10)), undefined);
      assert.deepEqual(open.open(first), plaintext);
      assert.deepEqual(open.open(second), plaintext);
      assert.equal(hpkeRecipient({ suite, info, recipient: ephemeral, enc })?.open(first), undefined);
      assert.equal(hpkeRecipient({ suite, recipient, enc })?.open(first), undefined);
    });

    it("takes nothing for an encapsulated key that is none (§7.1.4)", () => {
      const { enc } = hpkeSender({ suite, info, recipient: createPublicKey(recipient) });
      const offCurve = Buffer.from(enc);
      offCurve[40] = (offCurve[40] ?? 0) ^ 1;
      const bad = [Buffer.alloc(0), enc.subarray(1), Buffer.concat([enc, enc]), Buffer.alloc(enc.length)];
      if (suite.kem === "P-256") bad.push(offCurve);
      for (const each of bad) assert.equal(hpkeRecipient({ suite, info, recipient, enc: each }), undefined);
    });
  });
}

const oracles = [
  { suite: { kem: "X25519", aead: "AES-128-GCM" }, kem: DhkemX25519HkdfSha256, aead: Aes128Gcm },
  { suite: { kem: "X25519", aead: "AES-256-GCM" }, kem: DhkemX25519HkdfSha256, aead: Aes256Gcm },
  { suite: { kem: "P-256", aead: "AES-128-GCM" }, kem: DhkemP256HkdfSha256, aead: Aes128Gcm },
  { suite: { kem: "P-256", aead: "AES-256-GCM" }, kem: DhkemP256HkdfSha256, aead: Aes256Gcm },
] as const;

/** A private key as @hpke/core reads it. */
function rawOf(key: KeyObject): ArrayBuffer {
  return new Uint8Array(Buffer.from(key.export({ format: "jwk" }).d ?? assert.fail(), "base64url")).buffer;
}

for (const { suite, kem, aead } of oracles) {
  describe(`HPKE with ${suite.kem} and ${suite.aead}, beside @hpke/core`, () => {
    const oracle = new CipherSuite({ kem: new kem(), kdf: new HkdfSha256(), aead: new aead() });
    const psk = { psk: Buffer.alloc(32, 5), id: Buffer.from("a name") };
    const [recipient, sender] = [testKey(suite.kem), testKey(suite.kem)];
    for (const [mode, withPsk, withSender] of [
      ["base", false, false],
      ["psk", true, false],
      ["auth", false, true],
      ["auth_psk", true, true],
    ] as const) {
      it(`understands it and is understood in mode_${mode}, with exports`, async () => {
        const recipientPair = {
          privateKey: await oracle.kem.deserializePrivateKey(rawOf(recipient.privateKey)),
          publicKey: await oracle.kem.deserializePublicKey(
            new Uint8Array(serializePublicKey(recipient.publicKey)).buffer,
          ),
        };
        const senderPair = {
          privateKey: await oracle.kem.deserializePrivateKey(rawOf(sender.privateKey)),
          publicKey: await oracle.kem.deserializePublicKey(
            new Uint8Array(serializePublicKey(sender.publicKey)).buffer,
          ),
        };
        const theirPsk = withPsk
          ? { psk: { key: new Uint8Array(psk.psk).buffer, id: new Uint8Array(psk.id).buffer } }
          : {};
        const theirInfo = { info: new Uint8Array(info).buffer, ...theirPsk };
        const ourInfo = { suite, info, ...(withPsk ? { psk } : {}) };
        const context = new Uint8Array(Buffer.from("exporter"));
        const aad = Buffer.from("aad");

        const ours = hpkeSender({
          ...ourInfo,
          recipient: recipient.publicKey,
          ...(withSender ? { sender: sender.privateKey } : {}),
        });
        const theirRecipient = await oracle.createRecipientContext({
          ...theirInfo,
          recipientKey: recipientPair,
          enc: new Uint8Array(ours.enc).buffer,
          ...(withSender ? { senderPublicKey: senderPair.publicKey } : {}),
        });
        for (const text of ["one", "two"]) {
          const sealed = new Uint8Array(ours.context.seal(Buffer.from(text), aad));
          const opened = await theirRecipient.open(sealed.buffer, new Uint8Array(aad).buffer);
          assert.equal(Buffer.from(opened).toString(), text);
        }
        assert.deepEqual(
          Buffer.from(await theirRecipient.export(context.buffer, 40)),
          ours.context.export(context, 40),
        );

        const theirs = await oracle.createSenderContext({
          ...theirInfo,
          recipientPublicKey: recipientPair.publicKey,
          ...(withSender ? { senderKey: senderPair } : {}),
        });
        const ourRecipient = hpkeRecipient({
          ...ourInfo,
          enc: Buffer.from(theirs.enc),
          recipient: recipient.privateKey,
          ...(withSender ? { sender: sender.publicKey } : {}),
        });
        for (const text of ["three", "four"]) {
          const sealed = await theirs.seal(
            new Uint8Array(Buffer.from(text)).buffer,
            new Uint8Array(aad).buffer,
          );
          assert.equal(ourRecipient?.open(Buffer.from(sealed), aad)?.toString(), text);
        }
      });
    }

    it("does not open in mode_auth what another sender sealed", () => {
      const other = testKey(suite.kem);
      const { enc, context } = hpkeSender({
        suite,
        recipient: recipient.publicKey,
        sender: other.privateKey,
      });
      const sealed = context.seal(plaintext);
      const options = { suite, enc, recipient: recipient.privateKey };
      assert.equal(hpkeRecipient({ ...options, sender: sender.publicKey })?.open(sealed), undefined);
      assert.equal(hpkeRecipient(options)?.open(sealed), undefined);
      assert.deepEqual(hpkeRecipient({ ...options, sender: other.publicKey })?.open(sealed), plaintext);
    });

    it("refuses a pre-shared key of less than 32 bytes (§9.5)", () => {
      const short = { psk: Buffer.alloc(31), id: Buffer.from("a") };
      assert.throws(() => hpkeSender({ suite, recipient: recipient.publicKey, psk: short }), RangeError);
    });
  });
}

describe("an Ed25519 key as an X25519 key", () => {
  it("is the same pair on both sides", () => {
    for (let round = 0; round < 20; round++) {
      const { privateKey, publicKey } = testKey("Ed25519");
      const [ourPrivate, ourPublic] = [montgomeryPrivateKey(privateKey), montgomeryPublicKey(publicKey)];
      assert.deepEqual(serializePublicKey(ourPrivate), serializePublicKey(ourPublic));
      const other = testKey("X25519");
      assert.deepEqual(
        diffieHellman({ privateKey: ourPrivate, publicKey: other.publicKey }),
        diffieHellman({ privateKey: other.privateKey, publicKey: ourPublic }),
      );
    }
  });

  it("is that of RFC 8032's first test key in the conversion of libsodium", () => {
    const seed = Buffer.from("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60", "hex");
    const key = rawPrivateKey("Ed25519", seed);
    assert.equal(
      serializePublicKey(montgomeryPublicKey(createPublicKey(key))).toString("hex"),
      "d85e07ec22b0ad881537c2f44d662d1a143cf830c57aca4305d85c7a90f6b62e",
    );
  });

  it("is none for the neutral point, which every private key would agree with", () => {
    const spki = Buffer.concat([
      Buffer.from("302a300506032b6570032100", "hex"),
      Buffer.of(1),
      Buffer.alloc(31),
    ]);
    const neutral = createPublicKey({ key: spki, format: "der", type: "spki" });
    assert.throws(() => montgomeryPublicKey(neutral), TypeError);
    assert.equal(deserializePublicKey("X25519", Buffer.alloc(31)), undefined);
  });
});
