import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { inspect } from "node:util";

import { Keyring } from "./keyring.ts";
import { hex } from "./testing.ts";

/** A key by number. */
function numbered(index: number): Uint8Array {
  const secret = new Uint8Array(16);
  new DataView(secret.buffer).setUint32(0, index);
  return secret;
}

describe("Keyring", () => {
  it("shows no key in text, JSON or inspection", () => {
    const ring = new Keyring();
    const secret = Uint8Array.from({ length: 16 }, (_, index) => 0xa0 + index);
    ring.add(secret, "network", { kind: "given" });
    const [key] = ring.keys("network");
    assert.ok(key !== undefined);
    const shown = `${key.toString()} ${JSON.stringify(key)} ${inspect(key)} ${inspect(ring, { depth: 9 })}`;
    assert.ok(!shown.includes(hex(secret)) && !shown.includes("160, 161"), shown);
    assert.equal(hex(key.reveal()), hex(secret));
  });

  it("keeps each key once and no more than its limit", () => {
    const ring = new Keyring();
    const { link } = Keyring.learntMax;
    for (let index = 0; index < link + 10; index++) {
      const origin = { kind: "clear-transport", frame: index, networkSecured: false } as const;
      assert.equal(ring.add(numbered(index), "link", origin), index < link);
      assert.equal(ring.add(numbered(index), "link", origin), false);
    }
    assert.equal(ring.size, link);
    // Keys that somebody invents leave room for those that are given.
    assert.equal(ring.add(numbered(9_999), "link", { kind: "given" }), true);
  });
});
