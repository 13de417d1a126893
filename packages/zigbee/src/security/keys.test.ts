import assert from "node:assert/strict";
import { describe, it } from "node:test";

import vectors from "../vectors/hashes.json" with { type: "json" };
import { type Eui64, parseEui64 } from "../eui64.ts";
import { hex, unhex } from "../testing.ts";
import { installCodeCrc, installCodeKey } from "./install-code.ts";
import { keyLoadKey, keyTransportKey, keyVerifyHash } from "./link-key.ts";
import { keyedHash, mmoHash } from "./mmo-hash.ts";
import { establishSkke } from "./skke.ts";
import { decryptTouchlinkKey, encryptTouchlinkKey } from "./touchlink-key.ts";

function address(text: string): Eui64 {
  const parsed = parseEui64(text);
  assert.ok(parsed !== undefined);
  return parsed;
}

describe("the AES-MMO hash (Zigbee §B.6)", () => {
  for (const { input, hash } of vectors.mmoOfBytes) {
    it(`of ${input} is that of Annex C.5`, () => assert.equal(hex(mmoHash(unhex(input))), hash));
  }
  for (const { length, hash } of vectors.mmoOfCountingBytes) {
    it(`of ${length} bytes is that of Annex C.5, the long padding from 8192 bytes on`, () => {
      assert.equal(hex(mmoHash(Uint8Array.from({ length }, (_, index) => index))), hash);
    });
  }
});

describe("the keyed hash (Zigbee §B.1.4)", () => {
  for (const { key, input, hash } of vectors.keyed) {
    it(`under a key of ${key.length / 2} bytes is that of Annex C.6`, () => {
      assert.equal(hex(keyedHash(unhex(key), unhex(input))), hash);
    });
  }

  it("derives the keys of ZigBeeAlliance09 (Zigbee §4.5.3)", () => {
    const { linkKey, transport, load, verify } = vectors.derived;
    assert.equal(hex(keyTransportKey(unhex(linkKey))), transport);
    assert.equal(hex(keyLoadKey(unhex(linkKey))), load);
    assert.equal(hex(keyVerifyHash(unhex(linkKey))), verify);
  });
});

describe("install codes (Base Device Behavior §10.1)", () => {
  const { codeWithCrc, key } = vectors.installCode;

  it("give the key of the published example", () => {
    const found = installCodeKey(unhex(codeWithCrc));
    assert.ok(found !== undefined);
    assert.equal(hex(found), key);
    assert.equal(hex(installCodeCrc(unhex(codeWithCrc).subarray(0, 16))), codeWithCrc.slice(32));
  });

  it("give nothing when a digit or the length is wrong", () => {
    assert.equal(installCodeKey(unhex(codeWithCrc.replace("83", "84"))), undefined);
    assert.equal(installCodeKey(unhex(codeWithCrc.slice(2))), undefined);
    assert.equal(installCodeKey(new Uint8Array(0)), undefined);
  });
});

describe("touchlink keys (Light Link §8.7.4)", () => {
  it("come back as they were, for the same transaction only", () => {
    const master = unhex("101112131415161718191a1b1c1d1e1f");
    const key = unhex("0134fe9e66908714e694f1d28403eed6");
    const transaction = { transactionId: 0x1c40bf80, responseId: 0x6a7691cf };
    const encrypted = encryptTouchlinkKey(master, transaction, key);
    assert.deepEqual(decryptTouchlinkKey(master, transaction, encrypted), key);
    const other = { ...transaction, responseId: 1 };
    assert.notDeepEqual(decryptTouchlinkKey(master, other, encrypted), key);
  });
});

describe("SKKE (Zigbee §B.7)", () => {
  const exchange = {
    masterKey: unhex("404142434445464748494a4b4c4d4e4f"),
    initiator: address("00:12:4b:00:00:00:00:01"),
    responder: address("00:12:4b:00:00:00:00:02"),
    initiatorChallenge: new Uint8Array(16).fill(1),
    responderChallenge: new Uint8Array(16).fill(2),
  };

  it("depends on every one of its parts, and its two tags differ", () => {
    const { linkKey, initiatorTag, responderTag } = establishSkke(exchange);
    assert.notDeepEqual(initiatorTag, responderTag);
    const changes = [
      { masterKey: new Uint8Array(16) },
      { initiator: exchange.responder },
      { responder: exchange.initiator },
      { initiatorChallenge: exchange.responderChallenge },
      { responderChallenge: exchange.initiatorChallenge },
    ];
    for (const change of changes) {
      assert.notDeepEqual(establishSkke({ ...exchange, ...change }).linkKey, linkKey);
    }
  });
});
