import assert from "node:assert/strict";
import { describe, it } from "node:test";

import { createFrame, FrameResult, readFrame } from "../src/frame.ts";
import { packetOf } from "./notation.ts";
import { packetCodecs } from "./packet-codecs.ts";
import { vectors } from "./vectors.ts";

describe("packets as the specification draws them, in both directions", () => {
  for (const [source, version, first, body, value] of vectors) {
    it(source, () => {
      const bytes = packetOf(first, body);
      const frame = createFrame();
      assert.equal(readFrame(bytes, 0, bytes.length, bytes.length, frame), FrameResult.complete);
      const codec = packetCodecs[frame.type - 1];
      assert.deepEqual(codec?.decode(bytes, frame, version), { kind: "value", value });
      assert.deepEqual(codec.recode(bytes, frame, version), bytes);
    });
  }
});
