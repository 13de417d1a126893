import assert from "node:assert/strict";
import { describe, it } from "node:test";

import { isLoopback } from "@postern/core/host";

import { formatListenerUrl, isWildcard, parseListenerUrl } from "./listener-url.ts";

describe("listener URL", () => {
  it("tells kind, host, port and path", () => {
    const table = [
      ["mqtt://127.0.0.1:11883", { kind: "mqtt", host: "127.0.0.1", port: 11883 }],
      ["mqtts://[::1]", { kind: "mqtts", host: "::1", port: 8883 }],
      ["mqtt://broker.example/", { kind: "mqtt", host: "broker.example", port: 1883 }],
      ["wss://127.0.0.1:443", { kind: "wss", host: "127.0.0.1", port: 443 }],
      ["wss://a", { kind: "wss", host: "a", port: 443 }],
      ["ws://a:0/", { kind: "ws", host: "a", port: 0 }],
      ["unix:///run/postern.sock", { kind: "unix", path: "/run/postern.sock" }],
    ] as const;
    for (const [url, address] of table) assert.deepEqual(parseListenerUrl(url), address, url);
  });

  it("is written as it is read", () => {
    for (const url of ["mqtt://127.0.0.1:1", "mqtts://[::1]:8883", "wss://a:443", "unix:///a b"]) {
      const address = parseListenerUrl(url);
      assert.ok(address.kind !== "invalid");
      assert.equal(formatListenerUrl(address), url);
    }
  });

  it("is refused with a reason when it is none", () => {
    const bad = [
      "",
      "mqtt",
      "mqtt://",
      "mqtt://:1",
      "mqtt://a:b",
      "mqtt://a:65536",
      "mqtt://a/b",
      "mqtt://u@a",
      "mqtt://[1.2.3.4]",
      "mqtt://::1",
      "MQTT://a",
    ];
    for (const url of [
      ...bad,
      "http://a",
      "unix://a",
      "unix://",
      `unix:///${"a".repeat(107)}`,
      "mqtt://a b",
      "ws://a?b",
      "ws://a/mqtt",
    ]) {
      const address = parseListenerUrl(url);
      assert.ok(address.kind === "invalid" && address.reason.length > 10, url);
    }
  });

  it("knows what only this machine can reach, and what means all addresses", () => {
    for (const host of ["localhost", "127.0.0.1", "127.255.0.9", "::1"]) assert.ok(isLoopback(host), host);
    for (const host of [
      "0.0.0.0",
      "::",
      "127.example.org",
      "128.0.0.1",
      "::ffff:127.0.0.1",
      "localhost.example",
    ])
      assert.ok(!isLoopback(host), host);
    for (const host of ["0.0.0.0", "::", "0:0:0:0:0:0:0:0"]) assert.ok(isWildcard(host), host);
    for (const host of ["::1", "127.0.0.1", "1::"]) assert.ok(!isWildcard(host), host);
  });
});
