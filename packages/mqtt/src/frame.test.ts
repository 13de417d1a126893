import assert from "node:assert/strict";
import { describe, it } from "node:test";

import { createFrame, fixedHeaderFlagsValid, FrameResult, readFrame } from "./frame.ts";

const unlimited = 268_435_460;

function read(hex: string, packetBytesMax = unlimited, version: 3 | 4 | 5 = 5) {
  const bytes = Buffer.from(hex, "hex");
  const frame = createFrame();
  const result = readFrame(bytes, 0, bytes.length, packetBytesMax, frame, version);
  return { result, frame };
}

describe("reading the fixed header (MQTT 5.0 §2.1)", () => {
  it("says where the body of a complete packet lies", () => {
    const { result, frame } = read("320700016100010061");
    assert.equal(result, FrameResult.complete);
    assert.deepEqual(frame, { type: 3, flags: 2, start: 0, bodyStart: 2, bodyEnd: 9 });
  });

  it("reads at an offset, and leaves later packets alone", () => {
    const frame = createFrame();
    const bytes = Buffer.from("c000d000e000", "hex");
    assert.equal(readFrame(bytes, 2, bytes.length, unlimited, frame), FrameResult.complete);
    assert.deepEqual(frame, { type: 13, flags: 0, start: 2, bodyStart: 4, bodyEnd: 4 });
  });

  it("looks at nothing beyond the end it is given", () => {
    const frame = createFrame();
    assert.equal(readFrame(Buffer.from("c000", "hex"), 0, 1, unlimited, frame), FrameResult.incomplete);
  });

  it("tells the type of a packet from its first byte, and its end from its length", () => {
    assert.deepEqual(read("").frame, { type: 0, flags: 0, start: 0, bodyStart: -1, bodyEnd: -1 });
    assert.deepEqual(read("10").frame, { type: 1, flags: 0, start: 0, bodyStart: -1, bodyEnd: -1 });
    assert.deepEqual(read("1080").frame, { type: 1, flags: 0, start: 0, bodyStart: -1, bodyEnd: -1 });
    assert.deepEqual(read("108001").frame, { type: 1, flags: 0, start: 0, bodyStart: 3, bodyEnd: 131 });
    for (const hex of ["", "10", "1080", "108001"]) assert.equal(read(hex).result, FrameResult.incomplete);
  });

  it("forgets what an earlier packet left in the frame", () => {
    const frame = { type: 9, flags: 9, start: 9, bodyStart: 9, bodyEnd: 9 };
    readFrame(Buffer.alloc(0), 0, 0, unlimited, frame);
    assert.deepEqual(frame, createFrame());
  });

  it("refuses packet type 0, whatever follows (§2.1.2)", () => {
    for (const hex of ["00", "0000", "0fff"]) assert.equal(read(hex).result, FrameResult.malformed);
  });

  it("leaves packet type 15 to the caller, who knows the version", () => {
    assert.equal(read("f000").result, FrameResult.complete);
  });

  it("refuses a fifth byte of length as soon as the fourth announces it (§1.5.5)", () => {
    for (const version of [3, 4, 5] as const) {
      assert.equal(read("30ffffff", unlimited, version).result, FrameResult.incomplete);
      assert.equal(read("30ffffff80", unlimited, version).result, FrameResult.malformed);
      assert.equal(read("3080808080", unlimited, version).result, FrameResult.malformed);
    }
  });

  it("refuses a length in more bytes than it needs, but in MQTT 3 [MQTT-1.5.5-1]", () => {
    for (const hex of ["c08000", "c0808000", "c080808000"]) {
      assert.equal(read(hex).result, FrameResult.malformed);
      assert.equal(read(hex, unlimited, 4).result, FrameResult.complete);
      assert.equal(read(hex, unlimited, 3).result, FrameResult.complete);
    }
    assert.equal(read("4082000001", unlimited, 4).frame.bodyStart, 3);
  });

  it("takes the largest length there is", () => {
    const { result, frame } = read("30ffffff7f");
    assert.equal(result, FrameResult.incomplete);
    assert.equal(frame.bodyEnd, 268_435_460);
  });

  it("counts the fixed header into the size of a packet (§3.1.2.11.4)", () => {
    assert.equal(read("40020001", 4).result, FrameResult.complete);
    assert.equal(read("40020001", 3).result, FrameResult.tooLarge);
  });

  it("tells that a packet is too large before its body arrives, and how large it is", () => {
    const { result, frame } = read("30ffffff7f", 1_048_576);
    assert.equal(result, FrameResult.tooLarge);
    assert.equal(frame.bodyEnd - frame.start, 268_435_460);
    assert.equal(read("30feff3f", 1_048_576).result, FrameResult.tooLarge);
    assert.equal(read("30fcff3f", 1_048_576).result, FrameResult.incomplete);
  });
});

describe("flags of the fixed header (MQTT 5.0 §2.1.3)", () => {
  const lawfulFlags: Readonly<Record<number, readonly number[]>> = {
    0: [],
    3: [0, 1, 2, 3, 4, 5, 10, 11, 12, 13],
    6: [2],
    8: [2],
    10: [2],
  };
  for (let type = 0; type < 16; type++) {
    const expected = lawfulFlags[type] ?? [0];
    it(`packet type ${type} may have ${expected.join(", ") || "none"}`, () => {
      const lawful = Array.from({ length: 16 }, (_, flags) => flags).filter((flags) =>
        fixedHeaderFlagsValid(type, flags),
      );
      assert.deepEqual(lawful, expected);
    });
  }

  it("PUBLISH has no QoS 3 and no DUP with QoS 0, in any version [MQTT-3.3.1-2] [MQTT-3.3.1-4]", () => {
    for (const version of [3, 4, 5] as const) {
      for (const flags of [6, 7, 14, 15, 8, 9]) assert.equal(fixedHeaderFlagsValid(3, flags, version), false);
      for (const flags of [0, 1, 2, 3, 4, 5, 10, 11, 12, 13]) {
        assert.equal(fixedHeaderFlagsValid(3, flags, version), true);
      }
    }
  });

  it("MQTT 3.1 uses no other flags, but DUP on repeated requests (MQTT 3.1 §2.1)", () => {
    assert.equal(fixedHeaderFlagsValid(6, 0b1010, 3), true);
    assert.equal(fixedHeaderFlagsValid(8, 0b1010, 3), true);
    assert.equal(fixedHeaderFlagsValid(6, 0b1010, 4), false);
  });
});
