import assert from "node:assert/strict";
import { describe, it } from "node:test";

import { CaptureReader } from "./capture/capture-reader.ts";
import { Dissector } from "./dissector.ts";
import { parseEui64 } from "./eui64.ts";
import { Harvester } from "./harvest.ts";
import { Keyring } from "./keyring.ts";
import * as build from "./testing.ts";

/** A million frames, most of which still have most of their structure. */
const fileCount = 25_000;
const framesPerFile = 40;

/** Numbers that are the same in every run (xorshift). */
function createRandom(seed: number): (below: number) => number {
  let state = seed;
  return (below) => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return (state >>> 0) % below;
  };
}

function createSeeds(key: Uint8Array): Uint8Array[] {
  const source = parseEui64("00:15:8d:00:00:00:00:02");
  assert.ok(source !== undefined);
  const to = { pan: 0x1a62, destination: 0, source: 0x970b, macSequence: 1 };
  const protection = { key, source, counter: 77 };
  const command = build.apsCommand(build.transportKey(1, key, source, source));
  const { unhex } = build;
  return [
    build.macData(to, build.nwkFrame({ destination: 0, source: 1, protection }, build.apsData())),
    build.macData(to, build.nwkFrame({ destination: 0, source: 1 }, command)),
    build.macData(to, build.nwkFrame({ destination: 0, source: 1, command: true }, unhex("0680"))),
    build.beacon(0x1a62, source),
    build.macCommand(0x1a62, source, unhex("0180")),
    unhex("01c8adfffffffff4ec2a9d20feff570b000b000b00105ec011da00b3aec5e20292"),
    unhex("0108 01 ffff ffff 8c30 01020304 05000000 22 aabbccdd"),
  ];
}

describe("a million mutated frames in mutated files", () => {
  it("neither throw nor hang nor fill the memory", () => {
    const random = createRandom(0x5eed);
    const key = build.unhex("5f1e2d3c4b5a69788796a5b4c3d2e1f0");
    const seeds = createSeeds(key);
    const ring = new Keyring();
    ring.add(key, "network", { kind: "given" });
    const dissector = new Dissector(ring);
    const harvester = new Harvester(ring);
    let frames = 0;
    const before = process.memoryUsage().rss;
    for (let file = 0; file < fileCount; file++) {
      const mutated = Array.from({ length: framesPerFile }, () => {
        const bytes = (seeds[random(seeds.length)] ?? new Uint8Array(0)).slice();
        for (let change = random(4); change > 0; change--) bytes[random(bytes.length)] = random(256);
        return random(8) === 0 ? bytes.subarray(0, random(bytes.length)) : bytes;
      });
      const bytes = build.pcapFile(mutated);
      // Half of the files are damaged outside their frames as well.
      if (file % 2 === 0) bytes[random(bytes.length)] = random(256);
      const reader = new CaptureReader({
        onFrame: (frame) => {
          frames++;
          harvester.take(dissector.dissect(frame));
        },
      });
      reader.push(bytes);
      reader.end();
    }
    assert.ok(frames > 0.5 * fileCount * framesPerFile, `only ${frames} frames were read`);
    assert.ok(process.memoryUsage().rss - before < 300e6);
  });
});
