import assert from "node:assert/strict";
import { describe, it } from "node:test";

import * as fc from "fast-check";

import { createFrame, FrameResult, readFrame } from "../src/frame.ts";
import { PacketType, type ProtocolVersion } from "../src/packets.ts";
import { fuzzRuns } from "./fuzz-runs.ts";
import {
  comparable,
  fieldsOf,
  generateWithOracle,
  oracleKnows,
  parseWithOracle,
} from "./mqtt-packet-oracle.ts";
import { type AnyPacketCodec, packetCodecs } from "./packet-codecs.ts";

const typeNames = Object.keys(PacketType);

function forEachCodec(check: (codec: AnyPacketCodec, version: ProtocolVersion) => void): void {
  for (const codec of packetCodecs) {
    for (const version of codec.versions) {
      const name = (typeNames[codec.type - 1] ?? "").toUpperCase();
      it(`${name} of version ${version}`, () => check(codec, version));
    }
  }
}

describe("mqtt-packet reads from our bytes the value we encoded", () => {
  forEachCodec((codec, version) => {
    const packets = codec.arbitrary(version).filter(oracleKnows);
    fc.assert(
      fc.property(packets, ({ bytes, value }) => {
        assert.deepEqual(fieldsOf(parseWithOracle(bytes, version), version), comparable(value));
      }),
      fuzzRuns(40),
    );
  });
});

/** mqtt-packet refuses to encode some lawful packets. */
const refusals =
  /Username is required to use password|clientId must be (given|supplied)|Cannot read properties of undefined/;

describe("we read from mqtt-packet's bytes the value it encoded", () => {
  forEachCodec((codec, version) => {
    const packets = codec.arbitrary(version).filter(oracleKnows);
    let compared = 0;
    fc.assert(
      fc.property(packets, ({ bytes, value }) => {
        let theirs: Buffer;
        try {
          theirs = generateWithOracle(parseWithOracle(bytes, version), version);
        } catch (error) {
          assert.match(String(error), refusals);
          return;
        }
        const frame = createFrame();
        assert.equal(readFrame(theirs, 0, theirs.length, theirs.length, frame), FrameResult.complete);
        const decoded = codec.decode(theirs, frame, version);
        assert.equal(decoded.kind, "value");
        assert.deepEqual(comparable(decoded.value), comparable(value));
        compared++;
      }),
      fuzzRuns(40),
    );
    assert.ok(compared > 5, `only ${compared} packets were compared`);
  });
});
