import assert from "node:assert/strict";
import { createPublicKey, generateKeyPairSync } from "node:crypto";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";

import { followSuccession } from "@postern/seal/groups/succession";
import { verifyingKey } from "@postern/seal/keys/signature";

import { Sealing } from "./sealing.ts";

function key(): string {
  return generateKeyPairSync("ec", { namedCurve: "P-256" })
    .privateKey.export({ type: "pkcs8", format: "pem" })
    .toString();
}

function spki(pem: string): Buffer {
  return createPublicKey(pem).export({ type: "spki", format: "der" });
}

function told(sealing: Sealing): { readonly topic: string; readonly payload: Buffer } {
  return sealing.succession ?? assert.fail("it has nothing to tell");
}

describe("a device whose certificate is renewed with another key", () => {
  let directory = "";
  before(() => {
    directory = mkdtempSync(join(tmpdir(), "postern-sealing-"));
  });
  after(() => rmSync(directory, { recursive: true, force: true }));

  it("tells its key authority of each new key, signed with the one before, also after it started again", async () => {
    const [first, second, third] = [key(), key(), key()];
    const authorities = [verifyingKey(createPublicKey(key()))];
    const start = (own: string) =>
      Sealing.start(
        { tenant: "plant", device: "boiler", key: own },
        { state: directory, rules: [], authorities },
      );
    const address = { tenant: "plant", device: "boiler" };

    const sealing = await start(first);
    assert.throws(() => told(sealing));
    sealing.renewKey(first);
    assert.throws(() => told(sealing));
    sealing.renewKey(second);
    const { topic, payload } = told(sealing);
    assert.equal(topic, "$keys/boiler/next");
    assert.deepEqual(followSuccession(payload, address, spki(first)), [spki(second)]);

    await sealing.close();
    const again = await start(second);
    again.renewKey(third);
    const continued = told(again).payload;
    assert.deepEqual(followSuccession(continued, address, spki(first)), [spki(second), spki(third)]);
    assert.deepEqual(followSuccession(continued, address, spki(second)), [spki(third)]);
    await again.close();
  });
});

describe("a directory for sealing", () => {
  it("is free again after a start that failed", async () => {
    const state = mkdtempSync(join(tmpdir(), "postern-sealing-"));
    const start = () =>
      Sealing.start({ tenant: "plant", device: "boiler", key: key() }, { state, rules: [], authorities: [] });
    writeFileSync(join(state, "accepted"), "damaged");
    await assert.rejects(start, /accepted is damaged.*remove it to begin anew/);
    rmSync(join(state, "accepted"));
    const sealing = await start();
    await assert.rejects(start, /in use by the process/);
    await sealing.close();
    rmSync(state, { recursive: true });
  });
});
