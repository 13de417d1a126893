import assert from "node:assert/strict";
import { describe, it } from "node:test";

import { readLines, readWhole, spaced } from "./payloads.ts";

async function* chunks(...list: readonly (string | Uint8Array)[]): AsyncGenerator {
  for (const chunk of list) yield chunk;
}

async function linesOf(input: AsyncIterable<unknown>): Promise<string[]> {
  const lines: string[] = [];
  for await (const line of readLines(input)) lines.push(line.toString("latin1"));
  return lines;
}

describe("lines to publish", () => {
  it("are the same wherever the stream is cut", async () => {
    const text = Buffer.from("one\n\ntwo \xff\r\n\nthree", "latin1");
    const expected = ["one", "two \xff\r", "three"];
    for (let first = 0; first <= text.length; first++) {
      for (let second = first; second <= text.length; second++) {
        const parts = [text.subarray(0, first), text.subarray(first, second), text.subarray(second)];
        assert.deepEqual(await linesOf(chunks(...parts)), expected);
      }
    }
  });

  it("are none when there is nothing, or nothing but line feeds", async () => {
    assert.deepEqual(await linesOf(chunks()), []);
    assert.deepEqual(await linesOf(chunks("\n\n", "\n")), []);
  });
});

describe("a whole stream to publish", () => {
  it("is one payload, with its line feeds", async () => {
    assert.equal((await readWhole(chunks("a\n", Buffer.of(0xff), "\n"))).toString("latin1"), "a\n\xff\n");
  });
});

describe("spaced payloads", () => {
  it("come in order and none is lost", async () => {
    const received: string[] = [];
    for await (const payload of spaced([Buffer.from("a"), Buffer.from("b")], 1))
      received.push(payload.toString());
    assert.deepEqual(received, ["a", "b"]);
  });
});
