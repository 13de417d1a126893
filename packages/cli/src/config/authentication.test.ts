import assert from "node:assert/strict";
import { describe, it } from "node:test";

import { resolveConfiguration } from "./configuration.ts";
import { parseConfig } from "./read.ts";

function resolve(text: string) {
  return resolveConfiguration(parseConfig(text, "f.yaml")).authentication;
}

function issuer(keys: string, more = ""): string {
  return `authentication: { issuers: [{ issuer: i, audiences: [a], keys: "${keys}"${more} }] }\n`;
}

function hook(url: string, more = ""): string {
  return `authentication: { hook: { url: "${url}"${more} } }\n`;
}

describe("authentication: in the configuration", () => {
  it("has defaults that need nothing from outside", () => {
    const { issuers, hook: none, failures, passwords } = resolve("");
    assert.deepEqual(
      { issuers, none, passwords },
      {
        issuers: [],
        none: undefined,
        passwords: { concurrentMax: 2, waitingMax: 64 },
      },
    );
    assert.equal(failures.failuresPerPairMax, 5);
    assert.equal(resolve("authentication: { failures: { forgetSeconds: 60 } }").failures.forgetSeconds, 60);
  });

  it("takes key sets from https URLs and files, and asks hooks by https, or http on this machine", () => {
    for (const keys of ["https://id.example.org/keys", "keys.json", "/etc/postern/keys.pem"])
      assert.equal(resolve(issuer(keys)).issuers[0]?.keys, keys);
    assert.deepEqual(resolve(issuer("keys.json")).issuers[0]?.algorithms, ["ES256", "EdDSA"]);
    for (const url of ["https://h/", "http://127.0.0.1:8080/x", "http://[::1]/", "http://localhost:1/"])
      assert.equal(resolve(hook(url)).hook?.url, url);
  });

  for (const url of [
    "file:///etc/passwd",
    "http://127.0.0.1/keys",
    "ftp://h/keys",
    "https://u:p@h/keys",
    "data://x",
  ])
    it(`refuses keys at ${url}`, () => {
      assert.throws(
        () => resolve(issuer(url)),
        /authentication\.issuers\[0\]\.keys must be an https:\/\/ URL/,
      );
    });

  for (const url of [
    "file:///etc/passwd",
    "http://10.0.0.1/",
    "http://localhost.example.org/",
    "https://u:p@h/",
    "http://u@127.0.0.1/",
    "x",
  ])
    it(`refuses a hook at ${url}`, () => {
      assert.throws(() => resolve(hook(url)), /authentication\.hook\.url must be an https:\/\/ URL/);
    });

  for (const [what, text, problem] of [
    [
      "an issuer twice",
      "authentication: { issuers: [{ issuer: i, audiences: [a], keys: k }, { issuer: i, audiences: [b], keys: k }] }",
      /stands there twice/,
    ],
    [
      "the server as an issuer",
      "authentication: { issuers: [{ issuer: postern, audiences: [a], keys: k }] }",
      /is the server itself/,
    ],
    ["authorities for a file", issuer("k.json", ", keysCa: ca.pem"), /keysCa is for keys that are fetched/],
    ["HS256", issuer("k.json", ", algorithms: [HS256]"), /must be one of ES256, EdDSA, RS256, PS256/],
    [
      "no audience",
      "authentication: { issuers: [{ issuer: i, audiences: [], keys: k }] }",
      /audiences must not be empty/,
    ],
    ["a certificate without its key", hook("https://h/", ", certificate: c.pem"), /go together/],
    ["a key without its certificate", hook("https://h/", ", key: c.pem"), /go together/],
    ["an unknown key", "authentication: { hok: {} }", /did you mean "hook"/],
  ] as const)
    it(`refuses ${what}`, () => {
      assert.throws(() => resolve(text), problem);
    });
});
