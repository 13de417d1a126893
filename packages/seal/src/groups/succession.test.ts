import assert from "node:assert/strict";
import { describe, it } from "node:test";

import * as fc from "fast-check";

import { testKey } from "../testing.ts";
import { continueSuccession, followSuccession, successionLinksMax, successionTopic } from "./succession.ts";

const address = { tenant: "plant", device: "boiler" };

function spki(key: ReturnType<typeof testKey>): Buffer {
  return key.publicKey.export({ type: "spki", format: "der" });
}

function link(
  before: Uint8Array | undefined,
  former: ReturnType<typeof testKey>,
  next: ReturnType<typeof testKey>,
) {
  return continueSuccession(before, address, { former: former.privateKey, next: next.publicKey });
}

describe("the succession of a device's keys", () => {
  const [first, second, third] = [testKey("P-256"), testKey("Ed25519"), testKey("P-256")];
  const once = link(undefined, first, second);
  const twice = link(once, second, third);

  it("leads from any key that is known to the newest, also over renewals that nobody saw", () => {
    assert.deepEqual(followSuccession(once, address, spki(first)), [spki(second)]);
    assert.deepEqual(followSuccession(twice, address, spki(first)), [spki(second), spki(third)]);
    assert.deepEqual(followSuccession(twice, address, spki(second)), [spki(third)]);
    assert.deepEqual(followSuccession(twice, address, spki(third)), []);
    assert.equal(successionTopic("boiler"), "$keys/boiler/next");
  });

  it("leads nowhere from another key, for another device or tenant, or when anything of it was changed", () => {
    assert.deepEqual(followSuccession(twice, address, spki(testKey("P-256"))), []);
    assert.deepEqual(followSuccession(once, { ...address, device: "pump" }, spki(first)), []);
    assert.deepEqual(followSuccession(once, { ...address, tenant: "other" }, spki(first)), []);
    for (let byte = 0; byte < once.length; byte++) {
      const changed = Buffer.from(once);
      changed[byte] = (changed[byte] ?? 0) ^ (1 << (byte % 8));
      assert.deepEqual(followSuccession(changed, address, spki(first)), [], `byte ${byte}`);
    }
  });

  it("is not begun anew with a key from before, whoever has found that", () => {
    const thief = testKey("Ed25519");
    const forged = link(once, first, thief);
    assert.deepEqual(followSuccession(forged, address, spki(second)), []);
    assert.deepEqual(followSuccession(forged, address, spki(first)), [spki(second)]);
  });

  it("keeps the newest renewals", () => {
    const keys = Array.from({ length: successionLinksMax + 3 }, () => testKey("Ed25519"));
    let message: Buffer | undefined;
    for (const [index, key] of keys.slice(1).entries())
      message = link(message, keys[index] ?? assert.fail(), key);
    const [known, newest] = [keys.at(-2) ?? assert.fail(), keys.at(-1) ?? assert.fail()];
    assert.deepEqual(followSuccession(message ?? assert.fail(), address, spki(known)), [spki(newest)]);
    assert.deepEqual(followSuccession(message ?? assert.fail(), address, spki(keys[0] ?? assert.fail())), []);
  });

  it("is nothing, and nothing throws, whatever bytes come", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 100 }), (bytes) => {
        assert.deepEqual(followSuccession(bytes, address, spki(first)), []);
      }),
    );
  });
});
