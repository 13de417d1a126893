import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { describe, it } from "node:test";

import { dataDirectoryAt } from "@postern/identity/data-directory";

import type { ListenerConfiguration } from "../config/configuration.ts";
import { parseListenerUrl } from "../config/listener-url.ts";
import { renderBanner, shellWord, type RunningServerFacts } from "./banner.ts";

function listener(url: string, anonymous: boolean): RunningServerFacts["listeners"][number] {
  const address = parseListenerUrl(url);
  assert.ok(address.kind !== "invalid");
  const configuration: ListenerConfiguration = {
    name: url,
    address,
    anonymous,
    insecure: false,
    sealedPasswords: false,
    limits: {},
    psk: false,
    origins: [],
    tls: {},
  };
  return { url, configuration };
}

const facts: RunningServerFacts = {
  directory: dataDirectoryAt("/srv/data"),
  listeners: [listener("mqtts://127.0.0.1:8883", false)],
  metricsUrl: undefined,
  estUrl: undefined,
  revocationUrl: undefined,
  authorityFingerprint: "AA:BB",
  created: true,
  firstBundle: "/srv/data/bundles/first-device.json",
  warnings: [],
};
const options = { program: "npx postern", cwd: "/srv", version: "1.2.3" };

describe("what is printed when the server is up", () => {
  it("holds addresses, fingerprint and two commands to copy", () => {
    assert.equal(
      renderBanner(facts, options),
      `Postern 1.2.3 is running. Ctrl-C stops it.

  listening  mqtts://127.0.0.1:8883  TLS, for known devices
  metrics    off
  data       /srv/data (new)
  authority  SHA-256 AA:BB

Subscribe in another terminal, and publish in a third:

  npx postern sub --bundle data/bundles/first-device.json 'hello/#'
  npx postern pub --bundle data/bundles/first-device.json hello/world 'Hello, world'

`,
    );
  });

  it("names the open listener when there is no bundle, and nothing when nobody could get in", () => {
    const open = { ...facts, firstBundle: undefined, listeners: [listener("mqtt://127.0.0.1:1", true)] };
    assert.match(renderBanner(open, options), /npx postern sub --url mqtt:\/\/127\.0\.0\.1:1 'hello\/#'/);
    assert.doesNotMatch(renderBanner({ ...facts, firstBundle: undefined }, options), / sub /);
  });

  it("holds each warning on a line of its own", () => {
    assert.match(
      renderBanner({ ...facts, warnings: ["a", "b"] }, options),
      /\n {2}warning: a\n {2}warning: b\n/,
    );
  });

  it("holds paths that a shell reads as they are", () => {
    for (const text of ["a/b.json", "it's", "$HOME", "a b", "`x`", "a;b", "ü", "-"]) {
      assert.equal(execFileSync("sh", ["-c", `printf %s ${shellWord(text)}`]).toString(), text);
    }
    assert.equal(shellWord("/a/b-c_1.json"), "/a/b-c_1.json");
  });
});
