import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { closeSync, openSync } from "node:fs";
import { describe, it } from "node:test";

import { run } from "../src/main.ts";
import { fakeContext } from "../src/testing.ts";
import { bin, postern } from "./support/postern.ts";

/** No server is there: whoever gets as far as connecting ends with 3. */
const url = ["--url", "mqtt://127.0.0.1:1"];

async function refused(args: readonly string[]): Promise<string> {
  const context = fakeContext();
  assert.equal(await run(args, context), 2, `${args.join(" ")}: ${context.err()}`);
  assert.equal(context.out(), "");
  return context.err();
}

const hasFull = { skip: process.platform === "linux" ? false : "this system has no /dev/full" };

describe("a command whose output cannot be written", () => {
  it("says so and ends with 1, also when it had nothing else to do", hasFull, () => {
    const full = openSync("/dev/full", "w");
    try {
      const { status, stderr } = spawnSync(process.execPath, [bin, "--help"], {
        stdio: ["ignore", full, "pipe"],
        encoding: "utf8",
      });
      assert.match(stderr, /^postern: cannot write the output: .*ENOSPC/);
      assert.equal(status, 1);
    } finally {
      closeSync(full);
    }
  });
});

describe("a command line that makes no sense", () => {
  it("is refused with 2 before anything is sent, by a real process", async () => {
    assert.deepEqual(await postern(["sub", ...url, "sensors/#/temperature"]), {
      code: 2,
      signal: null,
      stdout: "",
      stderr:
        'postern: cannot subscribe to "sensors/#/temperature": "#" stands for all levels below and can only be the last; for exactly one level write "sensors/+/temperature"\n',
    });
    assert.deepEqual(await postern(["pub", ...url, "sensors/+/x", "m"]), {
      code: 2,
      signal: null,
      stdout: "",
      stderr:
        'postern: cannot publish to "sensors/+/x": "+" is a wildcard, which only subscriptions can have\n',
    });
  });

  it("says what is wrong with it", async () => {
    const cases: readonly (readonly [args: readonly string[], sentence: RegExp])[] = [
      [["pub", "t", "m"], /say which server: --bundle FILE .* or --url URL/],
      [["pub", ...url, "a#", "m"], /"#" is a wildcard/],
      [["pub", ...url, "", "m"], /1 to 65,535 bytes/],
      [["pub", ...url, "t"], /say what to publish: a message .*--file FILE, --lines or --null/],
      [["pub", ...url, "t", "m", "--null"], /a message and --null exclude each other/],
      [["pub", ...url, "t", "--lines", "--file", "x"], /--file and --lines exclude each other/],
      [["pub", ...url, "t", "--lines", "--count", "2"], /--lines and --count exclude each other/],
      [["pub", ...url, "t", "--file", "/no/such/file"], /cannot read the file \/no\/such\/file: there is no/],
      [["pub", ...url, "t", "m", "--qos", "3"], /--qos .*0, 1 or 2/],
      [["pub", ...url, "t", "m", "--count", "0"], /--count .*whole number from 1/],
      [["pub", ...url, "t", "m", "--interval", "soon"], /--interval .*seconds/],
      [["pub", ...url, "t", "m", "--mqtt-version", "4"], /--mqtt-version .*3.1, 3.1.1 or 5/],
      [["pub", ...url, "t", "m", "--no-clean"], /--no-clean needs --client-id/],
      [["pub", ...url, "t", "m", "--client-id", ""], /--client-id must have 1 to 65,535 bytes/],
      [
        ["pub", ...url, "t", "m", "--mqtt-version", "3.1", "--client-id", "x".repeat(24)],
        /24 characters; MQTT 3.1 allows 23/,
      ],
      [["pub", ...url, "t", "m", "--mqtt-version", "3.1.1", "--expiry", "5"], /properties .* are MQTT 5/],
      [["pub", ...url, "t", "m", "--mqtt-version", "3.1.1", "--session-expiry", "5"], /are MQTT 5/],
      [["pub", ...url, "t", "m", "--session-expiry", "forever"], /--session-expiry/],
      [["pub", ...url, "t", "m", "--will-message", "gone"], /a will needs --will-topic/],
      [["pub", ...url, "t", "m", "--will-topic", "a/#"], /--will-topic "a\/#" is not a topic to publish to/],
      [["pub", ...url, "t", "m", "--property", "speed=9"], /MQTT 5 has these: .*message-expiry-interval/],
      [["pub", ...url, "t", "m", "--password", "x"], /unknown option '--password'/],
      [["pub", "--url", "mqtt://me:secret@h", "t", "m"], /--url holds a password.*--password-file/],
      [["pub", "--url", "http://h", "t", "m"], /"http:\/\/h" is not the address of a server: write mqtts/],
      [["sub", ...url], /missing required argument 'filter'/],
      [["sub", ...url, "a", "$share/g"], /cannot subscribe to "\$share\/g": the filter after the group/],
      [["sub", ...url, "--no-local", "$share/g/a"], /--no-local and "\$share\/g\/a" exclude each other/],
      [["sub", ...url, "--mqtt-version", "3.1.1", "--no-local", "a"], /are MQTT 5: use --mqtt-version 5/],
      [["sub", ...url, "--open", "--retain-as-published", "a"], /could not be told from old ones/],
      [["sub", ...url, "--json", "--format", "hex", "a"], /--json and --format hex exclude each other/],
      [["sub", ...url, "--format", "xml", "a"], /Allowed choices are payload, topic, json, hex, raw/],
      [["sub", ...url, "--timeout", "0", "a"], /--timeout .*seconds/],
      [["completion", "tcsh"], /Allowed choices are bash, zsh, fish/],
    ];
    for (const [args, sentence] of cases) {
      const stderr = await refused(args);
      assert.match(stderr, sentence, args.join(" "));
      assert.match(stderr, /^postern: /);
      assert.doesNotMatch(stderr, /secret|\n {4}at /);
    }
  });

  it("gets as far as connecting once it makes sense", async () => {
    for (const args of [
      ["pub", "t", "m", "--qos", "2", "--no-clean", "--client-id", "c", "--session-expiry", "never"],
      ["pub", "t", "--null", "--retain", "--will-topic", "w", "--property", "will-delay-interval=5"],
      [
        "sub",
        "a/#",
        "+/b",
        "$share/g/#",
        "--retain-handling",
        "2",
        "--retain-as-published",
        "--format",
        "hex",
      ],
      ["sub", "#", "--mqtt-version", "3.1", "--client-id", "x".repeat(23)],
    ]) {
      const context = fakeContext();
      assert.equal(await run([...args, ...url], context), 3, context.err());
    }
  });
});

describe("help", () => {
  it("has examples, every option with a description, and the exit codes", async () => {
    for (const command of ["pub", "sub", "completion"]) {
      const context = fakeContext();
      assert.equal(await run([command, "--help"], context), 0);
      assert.match(context.out(), /Examples:\n {2}\S*.*postern /);
      const options = context.out().match(/^ {2}-.*$/gm) ?? [];
      assert.ok(options.length > 0);
      for (const option of options)
        assert.match(option, /^ {2}(-\w, )?--?\S+( [<[]\S+)? {2,}\S|^ {2}--\S+ \S+$/);
    }
  });
});
