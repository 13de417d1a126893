import assert from "node:assert/strict";
import { PassThrough } from "node:stream";
import { describe, it } from "node:test";

import { Progress } from "./progress.ts";

function shown(isTTY: boolean): string {
  let nowMs = 0;
  const stream = Object.assign(new PassThrough(), { isTTY });
  const progress = new Progress(stream, 1_000, () => nowMs);
  progress.begin();
  progress.add(100);
  nowMs = 250;
  progress.add(400);
  nowMs = 300;
  progress.add(400);
  progress.end();
  const bytes: unknown = stream.read();
  return bytes instanceof Uint8Array ? Buffer.from(bytes).toString() : "";
}

describe("the progress bar", () => {
  it("is drawn on a terminal when reading takes long, and taken away", () => {
    assert.equal(shown(true), `\r[${"#".repeat(15)}${".".repeat(15)}] 50 % of pass 1\r\u001B[K`);
  });

  it("is never written to a file or a pipe", () => {
    assert.equal(shown(false), "");
  });
});
