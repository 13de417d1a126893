import assert from "node:assert/strict";
import { describe, it } from "node:test";

import { formatMessage, type FormatOptions, type ReceivedMessage } from "./format.ts";

const time = new Date("2026-01-02T03:04:05.678Z");

function message(payload: string | Buffer, rest: Partial<ReceivedMessage> = {}): ReceivedMessage {
  const base = { topic: "a/b", qos: 1, retain: false, dup: true, properties: {} } as const;
  return { ...base, payload: Buffer.from(payload), ...rest };
}

function line(message: ReceivedMessage, options: Partial<FormatOptions> = {}): string {
  const all: FormatOptions = { format: "payload", withTopic: false, forTerminal: false, ...options };
  return Buffer.from(formatMessage(message, all, time)).toString("latin1");
}

const binary = message(Buffer.of(0xff, 0x00, 0x0a));

describe("message output", () => {
  it("prints text as it is, and anything else as base64 that says so", () => {
    assert.equal(line(message("21.5")), "21.5\n");
    assert.equal(line(binary), "base64:/wAK\n");
  });

  it("prints the topic before the payload, or alone", () => {
    assert.equal(line(message("21.5"), { withTopic: true }), "a/b 21.5\n");
    assert.equal(line(message("21.5"), { format: "topic", withTopic: true }), "a/b\n");
  });

  it("prints bytes in hex, or untouched and without a line end", () => {
    assert.equal(line(binary, { format: "hex" }), "ff000a\n");
    assert.equal(line(binary, { format: "raw" }), "\xff\x00\x0a");
  });

  it("prints one JSON object with everything that came", () => {
    const properties = {
      contentType: "text/plain",
      correlationData: Buffer.of(0xff),
      userProperties: [
        ["k", "1"],
        ["k", "2"],
      ],
    } as const;
    assert.deepEqual(JSON.parse(line(message("x\ny", { properties }), { format: "json" })), {
      topic: "a/b",
      payload: "x\ny",
      encoding: "utf8",
      qos: 1,
      retain: false,
      dup: true,
      properties: {
        contentType: "text/plain",
        correlationData: "/w==",
        userProperties: [
          ["k", "1"],
          ["k", "2"],
        ],
      },
      time: "2026-01-02T03:04:05.678Z",
    });
    assert.match(line(binary, { format: "json" }), /"payload":"\/wAK","encoding":"base64"/);
  });

  it("lets no message command the terminal, and leaves bytes alone elsewhere", () => {
    const hostile = message("\u001b]0;owned\u0007\u009b2J\ttab\nline", { topic: "a\u001b[2J" });
    const shown = line(hostile, { withTopic: true, forTerminal: true });
    assert.equal(shown, "a\\x1b[2J \\x1b]0;owned\\x07\\x9b2J\ttab\nline\n");
    assert.ok(line(hostile).includes("\u001b]0;owned"));
  });
});
