import assert from "node:assert/strict";
import { describe, it } from "node:test";

import * as fc from "fast-check";

import { createFrame, FrameResult, readFrame } from "../src/frame.ts";
import type { ProtocolVersion } from "../src/packets.ts";
import { reasonCodeName } from "../src/reason-codes.ts";
import { fuzzRuns } from "./fuzz-runs.ts";
import { decodePacket, packetArbitrary, packetCodecs } from "./packet-codecs.ts";

const versions: readonly ProtocolVersion[] = [3, 4, 5];

/**
 * Decodes every packet there is in the bytes. None may throw; what is malformed says so with a code and a sentence;
 * what decodes must encode, and decode to the same value again.
 */
function decodeAll(bytes: Buffer, version: ProtocolVersion): void {
  const frame = createFrame();
  let offset = 0;
  while (readFrame(bytes, offset, bytes.length, bytes.length, frame, version) === FrameResult.complete) {
    assert.ok(frame.bodyStart > offset && frame.bodyEnd >= frame.bodyStart && frame.bodyEnd <= bytes.length);
    const decoded = decodePacket(bytes, frame, version);
    if (decoded.kind === "malformed") {
      assert.ok(!reasonCodeName(decoded.reasonCode).startsWith("0x"));
      assert.match(decoded.reason, /^[\x20-\x7e§]+ \(MQTT [35]\.[01](\.1)? §[^)]+\)$/);
    } else {
      const recoded = packetCodecs[frame.type - 1]?.recode(bytes, frame, version);
      assert.ok(recoded !== undefined);
      const again = createFrame();
      assert.equal(readFrame(recoded, 0, recoded.length, recoded.length, again), FrameResult.complete);
      assert.deepEqual(decodePacket(recoded, again, version), decoded);
    }
    offset = frame.bodyEnd;
  }
}

describe("no input makes the codec throw or hang", () => {
  for (const version of versions) {
    it(`random bytes, version ${version}`, () => {
      fc.assert(
        fc.property(fc.uint8Array({ maxLength: 64 }), (bytes) => decodeAll(Buffer.from(bytes), version)),
        fuzzRuns(2_000),
      );
    });

    it(`random bodies behind a true fixed header, version ${version}`, () => {
      fc.assert(
        fc.property(fc.integer({ min: 0x10, max: 0xff }), fc.uint8Array({ maxLength: 100 }), (first, body) =>
          decodeAll(Buffer.concat([Buffer.of(first, body.length), body]), version),
        ),
        fuzzRuns(2_000),
      );
    });

    it(`valid packets with some bytes changed, version ${version}`, () => {
      const changes = fc.array(fc.tuple(fc.nat(), fc.integer({ min: 0, max: 255 })), {
        minLength: 1,
        maxLength: 4,
      });
      fc.assert(
        fc.property(packetArbitrary(version), changes, ({ bytes }, changes) => {
          const mutated = Buffer.from(bytes);
          for (const [place, byte] of changes) mutated[place % mutated.length] = byte;
          decodeAll(mutated, version);
        }),
        fuzzRuns(1_500),
      );
    });

    it(`valid packets with bytes taken out or put in, version ${version}`, () => {
      fc.assert(
        fc.property(
          packetArbitrary(version),
          fc.nat(),
          fc.integer({ min: 0, max: 5 }),
          fc.uint8Array({ maxLength: 5 }),
          ({ bytes }, place, removed, inserted) => {
            const at = place % bytes.length;
            const mutated = Buffer.concat([bytes.subarray(0, at), inserted, bytes.subarray(at + removed)]);
            decodeAll(mutated, version);
            // The same with a length that fits, so that the body is looked at.
            if (mutated.length > 1 && mutated.length < 130) mutated[1] = mutated.length - 2;
            decodeAll(mutated, version);
          },
        ),
        fuzzRuns(1_000),
      );
    });

    it(`packets of another version, version ${version}`, () => {
      fc.assert(
        fc.property(fc.constantFrom(...versions).chain(packetArbitrary), ({ bytes }) =>
          decodeAll(bytes, version),
        ),
        fuzzRuns(500),
      );
    });
  }
});
