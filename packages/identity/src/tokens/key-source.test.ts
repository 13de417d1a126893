import assert from "node:assert/strict";
import { generateKeyPairSync } from "node:crypto";
import { describe, it } from "node:test";

import { silentLog } from "@postern/core/log";
import * as fc from "fast-check";

import {
  es256,
  goodClaims,
  goodHeader,
  jwk,
  keySet,
  localKeys,
  nowMs,
  outcome,
  strangers,
  token,
} from "../testing/tokens.ts";
import { parseKeySet } from "./key-set.ts";
import { LocalKeys, RemoteKeys, type KeySource } from "./key-source.ts";

describe("key sets", () => {
  const refused: readonly (readonly [what: string, text: string, problem: RegExp])[] = [
    ["no JSON", "{", /neither a JSON object/],
    ["no keys", "{}", /no list "keys"/],
    ["keys that are no list", '{"keys":{}}', /no list "keys"/],
    ["nothing of use", '{"keys":[]}', /no key for/],
    ["a shared secret", '{"keys":[{"kty":"oct","k":"c2VjcmV0"}]}', /keys\[0\] is a shared secret/],
    [
      "a private key",
      JSON.stringify({ keys: [es256.privateKey.export({ format: "jwk" })] }),
      /holds a private key/,
    ],
    ["a damaged key", '{"keys":[{"kty":"EC","crv":"P-256","x":"AA","y":"AA"}]}', /keys\[0\] cannot be read/],
    [
      "a point that is not on the curve",
      JSON.stringify({ keys: [{ ...jwk(es256.publicKey, "x"), y: jwk(strangers.publicKey, "x").y }] }),
      /cannot be read/,
    ],
    ["a key id twice", JSON.stringify({ keys: [keySet.keys[0], keySet.keys[0]] }), /key id of another/],
    ["a member twice", '{"keys":[],"keys":[]}', /neither a JSON object/],
    [
      "too many keys",
      JSON.stringify({ keys: Array.from({ length: 101 }, () => ({})) }),
      /more than 100 keys/,
    ],
    [
      "a small RSA key",
      JSON.stringify({
        keys: [generateKeyPairSync("rsa", { modulusLength: 1_024 }).publicKey.export({ format: "jwk" })],
      }),
      /1024 bits/,
    ],
    [
      "a private key in PEM",
      es256.privateKey.export({ type: "pkcs8", format: "pem" }).toString(),
      /neither a public key nor/,
    ],
    ["damaged PEM", "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n", /cannot be read/],
    ["a book", " ".repeat(300_000), /more than 262144 bytes/],
    ["a list", "[]", /neither a JSON object/],
  ];
  for (const [what, text, problem] of refused) {
    it(`are refused: ${what}`, () => {
      const result = parseKeySet(text);
      assert.match(result.kind === "invalid" ? result.problem : "", problem);
    });
  }

  it("leave out keys of other kinds and for other uses", () => {
    const others = [
      { kty: "EC", crv: "P-384", x: "x", y: "y", use: "enc" },
      { kty: "XYZ" },
      { ...jwk(strangers.publicKey, "enc"), use: "enc" },
      { ...jwk(strangers.publicKey, "alg"), alg: "ES512" },
      jwk(es256.publicKey, "good"),
    ];
    const result = parseKeySet(JSON.stringify({ keys: others }));
    assert.deepEqual(result.kind === "keys" && result.keys.map(({ kid }) => kid), ["good"]);
  });

  it("may be one public key in PEM, which stands for every key id", async () => {
    const keys = new LocalKeys([]);
    keys.load(es256.publicKey.export({ type: "spki", format: "pem" }).toString(), "key.pem");
    assert.equal(await outcome(token(goodClaims), { keys }), "pump");
  });

  it("stay when what takes their place is wrong", async () => {
    const keys = localKeys();
    assert.throws(() => keys.load("{}", "keys.json"), /cannot use the token keys in keys.json/);
    assert.equal(await outcome(token(goodClaims), { keys }), "pump");
  });

  it("throw nothing for any text", () => {
    fc.assert(
      fc.property(
        fc.oneof(
          fc.json(),
          fc.string(),
          fc.json().map((json) => `{"keys":[${json}]}`),
        ),
        (text) => {
          parseKeySet(text);
        },
      ),
      { numRuns: 1_000 },
    );
  });
});

function remote(answers: () => Promise<string>) {
  let monotonicMs = 1_000_000;
  let fetches = 0;
  const keys: KeySource = new RemoteKeys({
    url: "https://id.example.org/keys",
    fetchText: () => {
      fetches += 1;
      return answers();
    },
    clock: { wallMs: () => nowMs, monotonicMs: () => monotonicMs },
    log: silentLog,
  });
  return {
    verify: (kid = "es") => outcome(token(goodClaims, { ...goodHeader, kid }), { keys }),
    pass: (seconds: number) => (monotonicMs += seconds * 1_000),
    get fetches() {
      return fetches;
    },
  };
}

function good() {
  return Promise.resolve(JSON.stringify(keySet));
}

describe("key sets at a URL", () => {
  it("are fetched when they are first needed, once for all who wait, and again after ten minutes", async () => {
    const t = remote(good);
    assert.equal(t.fetches, 0);
    assert.deepEqual(await Promise.all([t.verify(), t.verify(), t.verify()]), ["pump", "pump", "pump"]);
    assert.equal(t.fetches, 1);
    t.pass(599);
    await t.verify();
    assert.equal(t.fetches, 1);
    t.pass(2);
    await t.verify();
    assert.equal(t.fetches, 2);
  });

  it("are fetched for a key id that nobody knows yet, and not for each of a thousand that nobody has", async () => {
    let rotated = false;
    const t = remote(() =>
      Promise.resolve(JSON.stringify(rotated ? { keys: [jwk(es256.publicKey, "new")] } : keySet)),
    );
    await t.verify();
    rotated = true;
    t.pass(31);
    assert.equal(await t.verify("new"), "pump");
    for (let index = 0; index < 1_000; index += 1) await t.verify(`invented-${index}`);
    assert.equal(t.fetches, 2);
    t.pass(31);
    await t.verify("invented");
    assert.equal(t.fetches, 3);
  });

  it("let nobody in before they could be fetched, and are not asked for at every attempt", async () => {
    const t = remote(() => Promise.reject(new Error("no answer within 5 s")));
    for (let index = 0; index < 10; index += 1) assert.match(await t.verify(), /cannot be had: no answer/);
    assert.equal(t.fetches, 1);
  });

  it("stay for a day when they cannot be fetched again, or come back wrong", async () => {
    let answer: () => Promise<string> = good;
    const t = remote(() => answer());
    await t.verify();
    answer = () => Promise.resolve('{"keys":[]}');
    t.pass(3_600);
    assert.equal(await t.verify(), "pump");
    answer = () => Promise.reject(new Error("down"));
    t.pass(82_000);
    assert.equal(await t.verify(), "pump");
    t.pass(3_600);
    assert.match(await t.verify(), /cannot be had: down/);
  });
});
