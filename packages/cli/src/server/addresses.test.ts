import assert from "node:assert/strict";
import { describe, it } from "node:test";

import { resolveConfiguration, type Configuration } from "../config/configuration.ts";
import { parseConfig } from "../config/read.ts";
import { bundleServers, certificateHosts } from "./addresses.ts";

const machine = { hostname: "plant-7", addresses: ["192.0.2.7", "198.51.100.7", "2001:db8::7"] };

function configuration(text: string): Configuration {
  return resolveConfiguration(parseConfig(text, "postern.yaml"));
}

function servers(text: string, ports: readonly (readonly [string, number])[] = []): string[] {
  return bundleServers(configuration(text), new Map(ports), machine).map(({ url }) => url);
}

describe("addresses of the server", () => {
  it("stand in its certificate: loopback, the machine's name, configured names, the addresses it binds", () => {
    const text =
      "names: [broker.example.org, 203.0.113.9]\nlisteners: [{ url: mqtts://192.0.2.8 }, { url: 'unix:///s', anonymous: true }]\n";
    assert.deepEqual(certificateHosts(configuration(text), machine), [
      "localhost",
      "127.0.0.1",
      "::1",
      "broker.example.org",
      "203.0.113.9",
      "plant-7",
      "192.0.2.8",
    ]);
    const wildcard = certificateHosts(configuration("listeners: [{ url: 'mqtts://[::]' }]\n"), machine);
    assert.deepEqual(wildcard.slice(-3), machine.addresses);
    const strange = certificateHosts(resolveConfiguration(undefined), { hostname: "a b", addresses: [] });
    assert.ok(!strange.includes("a b"));
  });

  it("stand in bundles with the port that was bound, TLS only, the preferred first", () => {
    assert.deepEqual(
      servers(
        "listeners: [{ url: mqtts://127.0.0.1:0, name: a }, { url: 'mqtt://127.0.0.1:1', anonymous: true }]\n",
        [["a", 4711]],
      ),
      ["mqtts://127.0.0.1:4711"],
    );
    assert.deepEqual(servers("listeners: [{ url: 'wss://[::1]:5' }]\n"), ["wss://[::1]:5"]);
    assert.deepEqual(servers("names: [b.example]\nlisteners: [{ url: mqtts://192.0.2.7 }]\n"), [
      "mqtts://b.example:8883",
      "mqtts://192.0.2.7:8883",
    ]);
    assert.deepEqual(servers("listeners: [{ url: mqtts://0.0.0.0 }]\n"), [
      "mqtts://192.0.2.7:8883",
      "mqtts://127.0.0.1:8883",
    ]);
    assert.deepEqual(servers("names: [b.example]\nlisteners: [{ url: mqtts://127.0.0.1 }]\n"), [
      "mqtts://127.0.0.1:8883",
    ]);
  });
});
