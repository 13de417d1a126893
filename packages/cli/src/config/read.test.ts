import assert from "node:assert/strict";
import { describe, it } from "node:test";

import { ConfigError } from "./errors.ts";
import { loadConfig, parseConfig } from "./read.ts";

function refusal(text: string): ConfigError {
  try {
    parseConfig(text, "postern.yaml");
  } catch (thrown) {
    assert.ok(thrown instanceof ConfigError, String(thrown));
    return thrown;
  }
  return assert.fail(`was accepted: ${text}`);
}

describe("configuration file", () => {
  it("is taken as written in the documentation", () => {
    const { given } = parseConfig("listeners:\n  - url: mqtt://127.0.0.1:11883\n    anonymous: true\n", "f");
    assert.deepEqual(given, { listeners: [{ url: "mqtt://127.0.0.1:11883", anonymous: true }] });
  });

  it("may be empty, and so may its sections", () => {
    for (const text of [
      "",
      "# nothing\n",
      "limits:\n",
      "listeners:\nlimits:\n  # packetBytesMax: 1\nlog:\n  level:\n",
    ]) {
      assert.deepEqual(parseConfig(text, "f").given.listeners, undefined, text);
    }
  });

  it("says in one sentence what is wrong, in which line, and what was probably meant", () => {
    const table: readonly (readonly [text: string, message: string])[] = [
      [
        "limits:\n  packetByteMax: 7\n",
        `postern.yaml:2: unknown key "packetByteMax" under limits; did you mean "packetBytesMax"?`,
      ],
      [
        "limits:\n  packet_bytes_max: 7\n",
        `postern.yaml:2: unknown key "packet_bytes_max" under limits; did you mean "packetBytesMax"?`,
      ],
      ["\n\nlistenrs: []\n", `postern.yaml:3: unknown key "listenrs"; did you mean "listeners"?`],
      ["packetBytesMax: 7\n", `postern.yaml:1: unknown key "packetBytesMax"; it belongs under limits`],
      [
        "listeners:\n  - url: mqtt://[::1]\n    limits: { connectionsMax: 7 }\n",
        `postern.yaml:3: unknown key "connectionsMax" under listeners[0].limits; it belongs under limits`,
      ],
      ["log:\n  zzz: 1\n", `postern.yaml:2: unknown key "zzz" under log; known are level, format`],
      [
        "listeners:\n  - url: mqtt://[::1]\n    anonymus: true\n",
        `postern.yaml:3: unknown key "anonymus" under listeners[0]; did you mean "anonymous"?`,
      ],
      ["limits:\n  packetBytesMax: 0\n", "postern.yaml:2: limits.packetBytesMax must be at least 1, not 0"],
      [
        "limits:\n  receiveMaximum: 65536\n",
        "postern.yaml:2: limits.receiveMaximum must be at most 65535, not 65536",
      ],
      [
        "limits:\n  packetBytesMax: 1MB\n",
        `postern.yaml:2: limits.packetBytesMax must be a number, not "1MB"`,
      ],
      [
        "limits:\n  packetBytesMax: 1.5\n",
        "postern.yaml:2: limits.packetBytesMax must be a whole number, not 1.5",
      ],
      [
        "limits:\n  queueFullPolicy: drop-newst\n",
        `postern.yaml:2: limits.queueFullPolicy must be one of drop-oldest, drop-newest, not "drop-newst"; did you mean "drop-newest"?`,
      ],
      ["workers: 0\n", "postern.yaml:1: workers must be at least 1, not 0"],
      ["workers: -1\n", "postern.yaml:1: workers must be at least 1, not -1"],
      ["workers: 65\n", "postern.yaml:1: workers must be at most 16, not 65"],
      ["workers: 1.5\n", "postern.yaml:1: workers must be auto, or a whole number from 1 to 16"],
      ["workers: all\n", "postern.yaml:1: workers must be auto, or a whole number from 1 to 16"],
      ["limits: many\n", `postern.yaml:1: limits must be keys with values, not "many"`],
      [
        "listeners: mqtt://[::1]\n",
        `postern.yaml:1: listeners must be a list (lines beginning with -), not "mqtt://[::1]"`,
      ],
      ["listeners: []\n", "postern.yaml:1: listeners must not be empty"],
      ["listeners:\n  - anonymous: true\n", "postern.yaml:2: listeners[0].url is missing"],
      ["listeners:\n  - url: 7\n", "postern.yaml:2: listeners[0].url must be text, not 7"],
      [
        "listeners:\n  - url: http://a\n",
        `postern.yaml:2: listeners[0].url must look like mqtts://127.0.0.1:8883, mqtt://…, wss://…, ws://… or unix:///path, not "http://a"`,
      ],
      [
        "listeners:\n  - url: mqtt://[::1]\n    anonymous: yes please\n",
        `postern.yaml:3: listeners[0].anonymous must be true or false, not "yes please"`,
      ],
      [
        "log: { level: inf }\n",
        `postern.yaml:1: log.level must be one of trace, debug, info, warn, error, silent, not "inf"; did you mean "info"?`,
      ],
      [
        "metrics:\n  url: https://a:1\n",
        `postern.yaml:2: metrics.url must be off or look like http://127.0.0.1:9883, not "https://a:1"`,
      ],
      ["tls:\n  minVersion: 1.1\n", `postern.yaml:2: tls.minVersion must be one of 1.2, 1.3, not 1.1`],
      [
        "names: [a.example, 'b c']\n",
        `postern.yaml:1: names[1] must be a host name or an IP address, not "b c"`,
      ],
      ["- 1\n", "postern.yaml:1: the configuration must be keys with values, not a list"],
      ["just words\n", `postern.yaml:1: the configuration must be keys with values, not "just words"`],
      [
        "log:\n  level: info\nlog:\n  level: warn\n",
        "postern.yaml:3: not readable as YAML: Map keys must be unique",
      ],
    ];
    for (const [text, message] of table) assert.equal(refusal(text).message, message, text);
  });

  it("names the line of what is no YAML", () => {
    for (const [text, line] of [
      ["limits:\n\tpacketBytesMax: 1\n", 2],
      ["a: [1, 2\n", 2],
      ["a: 'b\n", 2],
      ["x: *nowhere\n", 1],
    ] as const) {
      const error = refusal(text);
      assert.equal(error.fields.line, line, error.message);
      assert.match(error.message, /^postern\.yaml:\d+: not readable as YAML: [^\n]+$/);
    }
  });

  it("reports the first mistake of the file, whatever the kind", () => {
    assert.match(refusal("log: { level: x }\nlimts: 1\n").message, /^postern\.yaml:1: log\.level/);
    assert.match(refusal("limts: 1\nlog: { level: x }\n").message, /^postern\.yaml:1: unknown key "limts"/);
  });

  it("offers file, line, key and suggestion apart, for programs", () => {
    const { fields, problem } = refusal("limits:\n  packetByteMax: 7\n");
    assert.deepEqual(fields, {
      file: "postern.yaml",
      line: 2,
      key: "limits.packetByteMax",
      suggestion: "packetBytesMax",
    });
    assert.match(problem, /^unknown key/);
  });

  it("does not grow without bound from aliases that repeat each other", () => {
    const bomb = ["a: &a [1,1,1,1,1,1,1,1,1,1]"];
    for (let index = 1; index < 8; index += 1) {
      const from = "abcdefgh".charAt(index - 1);
      const to = "abcdefgh".charAt(index);
      bomb.push(`${to}: &${to} [${Array.from({ length: 10 }, () => `*${from}`).join(",")}]`);
    }
    assert.match(refusal(bomb.join("\n")).message, /not readable as YAML: Excessive alias count/);
  });

  it("that cannot be read is named with the reason", () => {
    assert.throws(
      () => loadConfig("/nowhere/p.yaml", "p.yaml"),
      /^ConfigError: p\.yaml: cannot read the configuration: there is no such file$/,
    );
    assert.throws(() => loadConfig("/", "root"), /cannot read the configuration: it is a directory$/);
    assert.throws(
      () => loadConfig(process.execPath, "node"),
      /the configuration has \d+ bytes; more than 1048576 cannot be right/,
    );
  });
});
