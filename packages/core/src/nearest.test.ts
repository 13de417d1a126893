import assert from "node:assert/strict";
import { describe, it } from "node:test";

import { nearest } from "./nearest.ts";

const known = ["listeners", "limits", "log", "packetBytesMax", "queuedBytesMax", "1.2"];

describe("nearest known word", () => {
  it("sees through slips of the fingers, case and separators", () => {
    for (const [word, meant] of [
      ["listners", "listeners"],
      ["Limit", "limits"],
      ["lgo", "log"],
      ["packet-bytes-max", "packetBytesMax"],
      ["maxPacketBytes", undefined],
      ["queueBytesMax", "queuedBytesMax"],
      ["1.1", "1.2"],
    ] as const) {
      assert.equal(nearest(word, known), meant, word);
    }
  });

  it("does not guess when nothing is near", () => {
    for (const word of ["", "x", "certificate", "a".repeat(10_000)])
      assert.equal(nearest(word, known), undefined, word);
  });
});
