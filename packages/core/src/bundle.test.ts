import assert from "node:assert/strict";
import { describe, it } from "node:test";

import { credentialsOf, formatBundle, parseBundle, type Bundle } from "./bundle.ts";
import { BundleError } from "./errors.ts";

const bundle: Bundle = {
  postern: 1,
  device: "boiler-7",
  servers: [{ url: "mqtts://127.0.0.1:8883" }, { url: "wss://[::1]:8884/mqtt" }],
  ca: "-----BEGIN CERTIFICATE-----\n…",
  certificate: "-----BEGIN CERTIFICATE-----\n…",
  key: "-----BEGIN PRIVATE KEY-----\nS3CRET",
};

function refusal(text: string): string {
  try {
    parseBundle(text, "b.json");
  } catch (thrown) {
    assert.ok(thrown instanceof BundleError);
    assert.doesNotMatch(thrown.stack ?? "", /S3CRET/);
    assert.equal(thrown.cause, undefined);
    return thrown.message;
  }
  return assert.fail("was accepted");
}

describe("device bundle", () => {
  it("is read back as it was written", () => {
    assert.deepEqual(parseBundle(formatBundle(bundle), "b.json"), bundle);
  });

  it("holds whatever proves who the device is, the strongest first", () => {
    const { certificate, key, ...rest } = bundle;
    const all: Bundle = {
      ...bundle,
      password: "S3CRET",
      token: "a.b.c",
      psk: { identity: "b", key: "S3U=" },
    };
    assert.deepEqual(
      credentialsOf(parseBundle(formatBundle(all), "b.json")).map(({ kind }) => kind),
      ["certificate", "psk", "token", "password"],
    );
    assert.deepEqual(credentialsOf({ ...rest, password: "S3CRET" }), [
      { kind: "password", username: "boiler-7", password: "S3CRET" },
    ]);
    assert.deepEqual(credentialsOf({ ...rest, certificate }), [
      { kind: "certificate", certificate, key: undefined },
    ]);
    assert.match(
      refusal(formatBundle({ ...rest, key })),
      /it has neither "certificate" nor "psk", "token" or "password"$/,
    );
  });

  it("ignores fields of later versions", () => {
    const later = JSON.stringify({ ...bundle, payload: { key: "ab" } });
    assert.deepEqual(parseBundle(later, "b.json"), bundle);
  });

  it("names the file and the field that is wrong, and quotes no value", () => {
    assert.match(
      refusal(JSON.stringify({ ...bundle, postern: 2 })),
      /^b\.json is not a usable device bundle: "postern": /,
    );
    assert.match(refusal(JSON.stringify({ ...bundle, key: "S3CRET" })), /"key": not a private key in PEM$/);
    assert.match(refusal(JSON.stringify({ ...bundle, servers: [] })), /"servers": /);
    assert.match(
      refusal(JSON.stringify({ ...bundle, servers: [{ url: "mqtt://127.0.0.1" }] })),
      /"servers\.0\.url": not an mqtts:\/\/ or wss:\/\/ URL$/,
    );
    assert.equal(
      refusal(formatBundle(bundle).replace(/,\s*"key"/, ' "key"')),
      "b.json is not a device bundle: it is not JSON",
    );
  });
});
