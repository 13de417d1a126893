import assert from "node:assert/strict";
import { describe, it } from "node:test";

import * as fc from "fast-check";

import { createFrame, fixedHeaderFlagsValid, type Frame, FrameResult, readFrame } from "../src/frame.ts";
import type { Decoded } from "../src/malformed.ts";
import { PacketType, type ProtocolVersion } from "../src/packets.ts";
import { fuzzRuns } from "./fuzz-runs.ts";
import {
  type AnyPacketCodec,
  type EncodedPacket,
  decodePacket,
  packetArbitrary,
  packetCodecs,
} from "./packet-codecs.ts";

const unlimited = 268_435_460;
const versions: readonly ProtocolVersion[] = [3, 4, 5];
const typeNames = Object.keys(PacketType);

function nameOf(codec: AnyPacketCodec, version: ProtocolVersion): string {
  return `${(typeNames[codec.type - 1] ?? "").toUpperCase()} of version ${version}`;
}

/** The frame of a buffer that is one whole packet. */
function frameOf(bytes: Buffer): Frame {
  const frame = createFrame();
  assert.equal(readFrame(bytes, 0, bytes.length, unlimited, frame), FrameResult.complete);
  assert.equal(frame.bodyEnd, bytes.length);
  return frame;
}

/** The frame of a packet whose fixed header says that it ends at `bodyEnd`. */
function cutFrame(frame: Frame, bodyEnd: number): Frame {
  return { ...frame, bodyEnd };
}

function forEachCodec(check: (codec: AnyPacketCodec, version: ProtocolVersion) => void): void {
  for (const codec of packetCodecs) {
    for (const version of codec.versions) {
      it(nameOf(codec, version), () => check(codec, version));
    }
  }
}

describe("every packet decodes to the value it was encoded from", () => {
  forEachCodec((codec, version) => {
    fc.assert(
      fc.property(codec.arbitrary(version), ({ bytes, value }) => {
        const frame = frameOf(bytes);
        assert.equal(frame.type, codec.type);
        assert.ok(fixedHeaderFlagsValid(frame.type, frame.flags, version));
        assert.deepEqual(codec.decode(bytes, frame, version), { kind: "value", value });
      }),
      fuzzRuns(60),
    );
  });
});

describe("a packet that lies within other bytes is read by its own bytes alone", () => {
  forEachCodec((codec, version) => {
    const around = fc.uint8Array({ minLength: 1, maxLength: 8 });
    fc.assert(
      fc.property(codec.arbitrary(version), around, around, ({ bytes, value }, before, after) => {
        const all = Buffer.concat([before, bytes, after]);
        const frame = createFrame();
        assert.equal(readFrame(all, before.length, all.length, unlimited, frame), FrameResult.complete);
        assert.equal(frame.bodyEnd, before.length + bytes.length);
        assert.deepEqual(codec.decode(all, frame, version), { kind: "value", value });
      }),
      fuzzRuns(20),
    );
  });
});

describe("a packet cut at any byte is incomplete", () => {
  forEachCodec((codec, version) => {
    const frame = createFrame();
    fc.assert(
      fc.property(codec.arbitrary(version), ({ bytes }) => {
        for (let end = 0; end < bytes.length; end++) {
          assert.equal(readFrame(bytes, 0, end, unlimited, frame), FrameResult.incomplete);
          assert.equal(frame.type, end === 0 ? 0 : codec.type);
          assert.ok(frame.bodyEnd === -1 || frame.bodyEnd === bytes.length);
        }
      }),
      fuzzRuns(20),
    );
  });
});

/**
 * What may follow from a packet whose body ends early and whose length says so: nothing, or the shorter packet that
 * these bytes spell out. So what was decoded must encode to these bytes again. Three packets have more than one form
 * of the same value: there the value must keep what the bytes still say.
 */
function checkShorterPacket(codec: AnyPacketCodec, packet: EncodedPacket, end: number, frame: Frame): void {
  const { bytes, version } = packet;
  const cut = cutFrame(frame, end);
  const recoded = codec.recode(bytes, cut, version);
  if (recoded === undefined) return;
  const recodedBody = recoded.subarray(frameOf(recoded).bodyStart);
  const cutBody = bytes.subarray(cut.bodyStart, end);
  if (recodedBody.equals(cutBody)) return;
  const [decoded, original] = [codec.decode(bytes, cut, version), packet.value];
  if (codec.type === PacketType.connect && version === 3) {
    // MQTT 3.1 lets user name and password be missing although their flags are set.
    const kept = { ...requireValue(decoded), password: undefined };
    const { username, ...originalFields } = requireValue({ kind: "value", value: original });
    assert.deepEqual(kept, { ...originalFields, username: kept.username, password: undefined });
    assert.ok(kept.username === undefined || kept.username === username);
    return;
  }
  // The reason code 0 was spelled out, for the sake of properties that are cut away now.
  assert.deepEqual(cutBody, Buffer.concat([recodedBody, Buffer.of(0)]));
}

function requireValue(decoded: Decoded<unknown>): { readonly username: unknown } {
  assert.equal(decoded.kind, "value");
  const { value } = decoded;
  assert.ok(typeof value === "object" && value !== null && "username" in value);
  return value;
}

describe("a packet cut at any byte, with a length that says so, is malformed or the shorter packet it spells out", () => {
  forEachCodec((codec, version) => {
    fc.assert(
      fc.property(codec.arbitrary(version), (packet) => {
        const frame = frameOf(packet.bytes);
        for (let end = frame.bodyStart; end < packet.bytes.length; end++) {
          checkShorterPacket(codec, packet, end, frame);
        }
      }),
      fuzzRuns(20),
    );
  });
});

describe("bytes after the last field are malformed", () => {
  forEachCodec((codec, version) => {
    // The lists and the payload at the end of these go on with any byte, or may.
    const openEnded: ReadonlySet<number> = new Set([
      PacketType.publish,
      PacketType.subscribe,
      PacketType.unsubscribe,
      PacketType.suback,
      PacketType.unsuback,
    ]);
    fc.assert(
      fc.property(codec.arbitrary(version), ({ bytes, value }) => {
        const longer = Buffer.concat([bytes, Buffer.of(0xff)]);
        const decoded = codec.decode(longer, cutFrame(frameOf(bytes), longer.length), version);
        if (decoded.kind === "malformed") return;
        assert.ok(openEnded.has(codec.type));
        assert.notDeepEqual(decoded.value, value);
      }),
      fuzzRuns(20),
    );
  });
});

/** Reads packets as a connection does: each chunk is put behind what was left of the one before. */
function readStream(chunks: readonly Buffer[]): Buffer[] {
  const packets: Buffer[] = [];
  const frame = createFrame();
  let pending = Buffer.alloc(0);
  for (const chunk of chunks) {
    pending = Buffer.concat([pending, chunk]);
    let offset = 0;
    while (readFrame(pending, offset, pending.length, unlimited, frame) === FrameResult.complete) {
      packets.push(Buffer.from(pending.subarray(offset, frame.bodyEnd)));
      offset = frame.bodyEnd;
    }
    pending = pending.subarray(offset);
  }
  assert.equal(pending.length, 0);
  return packets;
}

function split(stream: Buffer, cuts: readonly number[]): Buffer[] {
  const ends = [...cuts.map((cut) => cut % (stream.length + 1)), stream.length].sort((a, b) => a - b);
  return ends.map((end, index) => stream.subarray(ends[index - 1] ?? 0, end));
}

describe("every split of a stream gives the same packets", () => {
  for (const version of versions) {
    const packets = fc.array(packetArbitrary(version), { minLength: 1, maxLength: 6 });
    it(`version ${version}, byte by byte`, () => {
      fc.assert(
        fc.property(packets, (sent) => {
          const stream = Buffer.concat(sent.map((packet) => packet.bytes));
          const received = readStream(Array.from(stream, (byte) => Buffer.of(byte)));
          assert.deepEqual(
            received,
            sent.map((packet) => packet.bytes),
          );
        }),
        fuzzRuns(20),
      );
    });
    it(`version ${version}, anywhere`, () => {
      fc.assert(
        fc.property(packets, fc.array(fc.nat(), { maxLength: 12 }), (sent, cuts) => {
          const stream = Buffer.concat(sent.map((packet) => packet.bytes));
          const received = readStream(split(stream, cuts));
          assert.deepEqual(
            received.map((bytes) => decodePacket(bytes, frameOf(bytes), version)),
            sent.map((packet) => ({ kind: "value", value: packet.value })),
          );
        }),
        fuzzRuns(50),
      );
    });
  }
});
