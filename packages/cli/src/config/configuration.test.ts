import assert from "node:assert/strict";
import { describe, it } from "node:test";

import { defaultLimits } from "@postern/broker/limits";

import { resolveConfiguration } from "./configuration.ts";
import { parseConfig } from "./read.ts";

function resolve(text: string) {
  return resolveConfiguration(parseConfig(text, "postern.yaml"));
}

describe("configuration in force", () => {
  it("listens by default with TLS and certificates on loopback, for MQTT and WebSocket", () => {
    const { listeners, warnings, limits, metrics } = resolveConfiguration(undefined);
    assert.deepEqual(
      listeners.map(({ name, anonymous }) => [name, anonymous]),
      [
        ["mqtts://127.0.0.1:8883", false],
        ["wss://127.0.0.1:8884", false],
      ],
    );
    assert.deepEqual(warnings, []);
    assert.deepEqual(limits, defaultLimits);
    assert.deepEqual(metrics, { host: "127.0.0.1", port: 9883, required: false, insecure: false });
  });

  it("binds the default listeners elsewhere when asked, with a warning for each", () => {
    const { listeners, warnings } = resolveConfiguration(undefined, { bind: "::" });
    assert.deepEqual(
      listeners.map(({ name }) => name),
      ["mqtts://[::]:8883", "wss://[::]:8884"],
    );
    assert.deepEqual(warnings, [
      'mqtts://[::]:8883 can be reached from other machines, and nothing hides it: "gate: {}" would',
      'wss://[::]:8884 can be reached from other machines, and nothing hides it: "gate: {}" would',
      'https://[::]:8885 can be reached from other machines, and nothing hides it: "gate: {}" would',
    ]);
  });

  it("keeps the defaults of all limits that are not given, and a listener's own apart", () => {
    const { limits, listeners } = resolve(
      "limits:\n  packetBytesMax: 7\nlisteners:\n  - url: mqtts://127.0.0.1\n    limits: { receiveMaximum: 3 }\n",
    );
    assert.deepEqual(limits, { ...defaultLimits, packetBytesMax: 7 });
    assert.deepEqual(listeners[0]?.limits, { receiveMaximum: 3 });
  });

  it("lets plain and anonymous listeners be on loopback and Unix sockets, and elsewhere only with insecure beside them", () => {
    for (const url of [
      "mqtt://127.0.0.1:1",
      "ws://localhost:1",
      "mqtt://[::1]:1",
      "mqtt://127.1.2.3",
      "unix:///run/x.sock",
    ]) {
      assert.equal(resolve(`listeners:\n  - url: ${url}\n    anonymous: true\n`).warnings.length, 0, url);
    }
    for (const url of [
      "mqtt://0.0.0.0:1",
      "ws://192.168.1.2:1",
      "mqtt://[::]:1",
      "mqtt://[::ffff:127.0.0.1]:1",
      "mqtts://broker.example:1",
      "wss://[::]:1",
    ]) {
      const text = `listeners:\n  - url: mqtts://127.0.0.1\n  - url: "${url}"\n    anonymous: true\n`;
      assert.throws(
        () => resolve(text),
        /^ConfigError: postern\.yaml:3: listeners\[1\] takes anonymous clients .*add "insecure: true" beside it/,
        url,
      );
      assert.match(
        resolve(`${text}    insecure: true\n`).warnings.join(),
        /can be reached from other machines and takes anonymous/,
        url,
      );
    }
    assert.throws(
      () => resolve("listeners:\n  - url: mqtt://10.0.0.1:1\n"),
      /listeners\[0\] is in plain text on 10\.0\.0\.1/,
    );
  });

  it("warns of a listener that nobody can get in through", () => {
    assert.match(
      resolve("listeners:\n  - url: mqtt://127.0.0.1:1\n").warnings.join(),
      /nobody can get in through mqtt:\/\/127\.0\.0\.1:1/,
    );
  });

  it("refuses what contradicts itself, at its line", () => {
    const table: readonly (readonly [string, RegExp])[] = [
      [
        "listeners:\n  - url: mqtts://127.0.0.1:5\n  - url: wss://127.0.0.1:5\n",
        /:3: listeners\[1\] and listeners\[0\] are both on 127\.0\.0\.1:5$/,
      ],
      [
        "listeners:\n  - url: mqtts://127.0.0.1:5\n    name: a\n  - url: mqtts://127.0.0.1:6\n    name: a\n",
        /:4: listeners\[1\] and listeners\[0\] have the same name "a"/,
      ],
      [
        "tls:\n  minVersion: 1.3\n  maxVersion: 1.2\n",
        /:2: tls\.minVersion 1\.3 is above tls\.maxVersion 1\.2$/,
      ],
      ["metrics:\n  url: http://0.0.0.0:9883\n", /:2: metrics\.url is on 0\.0\.0\.0, .*"insecure: true"/],
    ];
    for (const [text, message] of table)
      assert.throws(() => resolve(text), { name: "ConfigError", message }, text);
    resolve(
      "listeners:\n  - url: mqtts://127.0.0.1:0\n    name: a\n  - url: mqtts://127.0.0.1:0\n    name: b\n",
    );
    resolve("metrics:\n  url: http://0.0.0.0:9883\n  insecure: true\n");
  });

  it("gives certificates to devices beside the default listeners, elsewhere where asked, or not at all", () => {
    const defaults = { certificateDays: 30, renewalGraceDays: 30, sameKeyRenewal: false, hidden: true };
    const standard = { host: "127.0.0.1", port: 8885, required: false, ...defaults };
    assert.deepEqual(resolveConfiguration(undefined).est, standard);
    assert.deepEqual(resolve("est: { certificateDays: 1 }\n").est, { ...standard, certificateDays: 1 });
    assert.equal(resolve("listeners: [{ url: 'mqtts://127.0.0.1:1' }]\n").est, undefined);
    assert.equal(resolve("est: { url: off }\n").est, undefined);
    assert.deepEqual(
      resolve("listeners: [{ url: 'mqtts://127.0.0.1:1' }]\nest: { url: 'https://[::1]:2' }\n").est,
      { host: "::1", port: 2, required: true, ...defaults },
    );
    for (const est of [
      "{ url: 'http://127.0.0.1:1' }",
      "{ url: 'https://127.0.0.1:70000' }",
      "{ certificateDays: 0 }",
      "{ certificateDays: 401 }",
      "{ renewalGraceDays: -1 }",
      "{ sameKeyRenewal: 1 }",
      "{ urls: x }",
    ])
      assert.throws(() => resolve(`est: ${est}\n`), { name: "ConfigError" }, est);
    assert.throws(
      () =>
        resolve("listeners: [{ url: 'mqtts://127.0.0.1:8885' }]\nest: { url: 'https://127.0.0.1:8885' }\n"),
      /est\.url and listeners\[0\] are both on 127\.0\.0\.1:8885/,
    );
  });

  it("serves metrics where asked, or not at all", () => {
    assert.deepEqual(resolve("metrics: { url: 'http://[::1]:1' }\n").metrics, {
      host: "::1",
      port: 1,
      required: true,
      insecure: false,
    });
    assert.equal(resolve("metrics: { url: off }\n").metrics, undefined);
  });
});
