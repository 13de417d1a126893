import assert from "node:assert/strict";
import { describe, it } from "node:test";

import { Dissector } from "./dissector.ts";
import { parseEui64 } from "./eui64.ts";
import { type HuntedKey, KeyHunt } from "./key-hunt.ts";
import { Keyring } from "./keyring.ts";
import * as build from "./testing.ts";

const source = parseEui64("00:15:8d:00:00:00:00:02");
assert.ok(source !== undefined);
const networkKey = build.unhex("5f1e2d3c4b5a69788796a5b4c3d2e1f0");
const linkKey = build.unhex("9a8b7c6d5e4f30211203948576675849");
const to = { pan: 0x1a62, destination: 0, source: 0x970b, macSequence: 1 };

const secured = [1, 2, 3].map((counter) =>
  build.macData(
    to,
    build.nwkFrame(
      { destination: 0, source: 0x970b, protection: { key: networkKey, source, counter } },
      build.apsData(),
    ),
  ),
);
const transport = build.macData(
  to,
  build.nwkFrame(
    { destination: 0, source: 0 },
    build.apsCommand(build.transportKey(1, networkKey, source, source), {
      key: linkKey,
      source,
      counter: 9,
      identifier: 2,
    }),
  ),
);

function hunt(frames: readonly Uint8Array[], dump: Uint8Array, level?: number): HuntedKey[] {
  const keyHunt = new KeyHunt(level);
  const dissector = new Dissector(new Keyring());
  for (const frame of build.captured(frames)) {
    keyHunt.see(dissector.dissect(frame), (pan, short) => dissector.address(pan, short));
  }
  return [...keyHunt.search(dump)].filter((found) => "bytes" in found);
}

/** Something like flash memory: not random, not empty, with keys at odd places. */
function dumpWith(...keys: readonly (readonly [offset: number, key: Uint8Array])[]): Uint8Array {
  const dump = Uint8Array.from({ length: 4_096 }, (_, index) => (index % 256 < 128 ? 0xff : index * 7));
  for (const [offset, key] of keys) dump.set(key, offset);
  return dump;
}

describe("the hunt for keys in a dump (thesis 6.6 Key storage)", () => {
  it("finds a network key at any offset, in both byte orders", () => {
    const dump = dumpWith([1_001, networkKey], [3_003, networkKey.toReversed()]);
    const found = hunt(secured, dump);
    assert.deepEqual(
      found.map(({ offset, reversed, use, frames }) => [
        offset,
        reversed,
        use,
        frames.toSorted((a, b) => a - b),
      ]),
      [
        [1_001, false, "network", [1, 2, 3]],
        [3_003, true, "network", [1, 2, 3]],
      ],
    );
    assert.deepEqual(found[1]?.bytes, networkKey);
  });

  it("finds a link key by the transport of a network key", () => {
    const [found] = hunt([transport], dumpWith([77, linkKey]));
    assert.deepEqual([found?.offset, found?.use, found?.bytes], [77, "link", linkKey]);
  });

  it("finds the key of frames that the MAC protects (IEEE 802.15.4-2006 Annex C.2.3)", () => {
    const command = build.unhex(
      "2bdc842143020000000048deacffff010000000048deac060500000001d84fde529061f9c6f1",
    );
    const key = build.unhex("c0c1c2c3c4c5c6c7c8c9cacbcccdcecf");
    const [found] = hunt([command], dumpWith([5, key]));
    assert.deepEqual([found?.offset, found?.use], [5, "mac"]);
  });

  it("finds nothing where the key is not, or is cut off at the end", () => {
    assert.deepEqual(hunt(secured, dumpWith()), []);
    const cut = new Uint8Array(100);
    cut.set(networkKey.subarray(0, 15), 85);
    assert.deepEqual(hunt(secured, cut), []);
    assert.deepEqual(hunt(secured, new Uint8Array(0)), []);
  });

  it("refuses a level at which nothing proves a key", () => {
    assert.throws(() => new KeyHunt(4), RangeError);
  });
});
