import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { describe, it } from "node:test";

import { wordAt } from "./aes.ts";
import { keyLoadKey, keyTransportKey } from "./link-key.ts";
import { type DerivedKeyInput, LinkKeyDeriver } from "./link-key-deriver.ts";

function words(bytes: Uint8Array): Uint32Array {
  return Uint32Array.of(wordAt(bytes, 0), wordAt(bytes, 4), wordAt(bytes, 8), wordAt(bytes, 12));
}

describe("the deriver of link keys", () => {
  it("makes the same keys as the keyed hash (Zigbee §4.5.3)", () => {
    const deriver = new LinkKeyDeriver();
    const derived = (key: Uint8Array, input: DerivedKeyInput): Uint32Array => {
      const to = new Uint32Array(4);
      deriver.derive(words(key), input, to);
      return to;
    };
    for (let index = 0; index < 200; index++) {
      const key = createHash("sha256").update(`key ${index}`).digest().subarray(0, 16);
      assert.deepEqual(derived(key, 0x00), words(keyTransportKey(key)));
      assert.deepEqual(derived(key, 0x02), words(keyLoadKey(key)));
    }
  });
});
