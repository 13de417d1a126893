import assert from "node:assert/strict";
import { describe, it } from "node:test";

import { crc16 } from "../crc16.ts";
import { uint16 } from "../encoding.ts";
import { joined } from "../security/mmo-hash.ts";
import { unhex } from "../testing.ts";
import { type CapturedFrame } from "./captured-frame.ts";
import { LiveReader } from "./live-reader.ts";
import { pcapHeader, pcapRecord } from "./pcap-writer.ts";
import { probeFrameCheck } from "./probe-frame-check.ts";

const poll = unhex("63880304621a00000b9704");
const frames = [
  unhex("020042"),
  poll,
  unhex("030801ffffffff07"),
  unhex("020043"),
  unhex("418801621affff0000aabb4c"),
];

describe("the end of frames of link type 195", () => {
  const ends: readonly [format: string, frames: readonly Uint8Array[]][] = [
    ["crc", frames.map((frame) => joined(frame, uint16(crc16(frame, 0, frame.length))))],
    ["ti", frames.map((frame) => joined(frame, unhex("c4eb")))],
    ["unchecked", frames.map((frame) => joined(frame, unhex("0000")))],
    ["none", frames],
    ["crc", frames.slice(-1)],
    ["crc", []],
  ];
  for (const [format, recorded] of ends) {
    it(`is ${format} in ${recorded.length} frames of which the first ends with ${recorded[0]?.at(-1) ?? "nothing"}`, () => {
      assert.equal(probeFrameCheck(recorded), format);
    });
  }

  it("is found out in a stream as well, and frames are handed on as soon as one is right", () => {
    const found: CapturedFrame[] = [];
    const reader = new LiveReader({
      onFrame: (frame) => void found.push({ ...frame, bytes: frame.bytes.slice() }),
    });
    reader.push(pcapHeader());
    reader.push(pcapRecord(1, poll, { damaged: true }));
    assert.equal(found.length, 0);
    reader.push(pcapRecord(2, poll));
    assert.deepEqual(
      found.map(({ number, frameCheck }) => [number, frameCheck]),
      [
        [1, "bad"],
        [2, "good"],
      ],
    );
  });

  it("is of a TI radio in a stream when the first twenty frames say so", () => {
    const found: CapturedFrame[] = [];
    const reader = new LiveReader({ onFrame: (frame) => void found.push(frame) });
    const record = pcapRecord(1, poll);
    record.set(unhex("c4eb"), record.length - 2);
    reader.push(pcapHeader());
    for (let index = 0; index < 25; index++) reader.push(record);
    reader.end();
    assert.deepEqual(
      [found.length, found[0]?.frameCheck, found[0]?.rssi, reader.problem],
      [25, "good", -133, undefined],
    );
  });
});
