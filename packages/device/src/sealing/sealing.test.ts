import assert from "node:assert/strict";
import { createPublicKey, generateKeyPairSync } from "node:crypto";
import { cpSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";

import { structureOf } from "@postern/seal/envelope/structure";
import { followSuccession } from "@postern/seal/groups/succession";
import { verifyingKey } from "@postern/seal/keys/signature";

import { Message } from "../message.ts";
import type { SealRule } from "./rules.ts";
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

describe("a receiver that crashes", () => {
  it("accepts nothing twice, and has lost neither a command nor what comes after a pause", async () => {
    using stack = new DisposableStack();
    const newDirectory = (): string => {
      const path = mkdtempSync(join(tmpdir(), "postern-sealing-"));
      stack.defer(() => rmSync(path, { recursive: true }));
      return path;
    };
    const identity = { tenant: "plant", device: "boiler", key: key() };
    const keys = [{ epoch: 1, secret: Buffer.alloc(32, 7) }];
    const signers = {
      boiler: [createPublicKey(identity.key).export({ type: "spki", format: "pem" }).toString()],
    };
    const rules: SealRule[] = [
      { filter: "cmd", mode: "signed+encrypted", keys, signers },
      { filter: "values", mode: "encrypted", keys },
    ];
    const start = (state: string) => Sealing.start(identity, { state, rules, authorities: [] });
    const sender = await start(newDirectory());
    const sealed = async (topic: string): Promise<Message> => {
      const sent = { topic, payload: Buffer.from("7"), qos: 1, retain: false, properties: {} } as const;
      const { payload } = await sender.seal(sent);
      const rest = { topic, qos: 1, retained: false, duplicate: false, properties: {} } as const;
      return new Message({ ...rest, payload, sealed: undefined });
    };
    for (const topics of [["values"], ["cmd", "cmd", "cmd"]]) {
      const state = newDirectory();
      const receiver = await start(state);
      const messages = await Promise.all(topics.map(sealed));
      for (const message of messages) {
        const opening = receiver.open(message, []);
        assert.ok(opening.kind === "message");
        opening.settled();
      }
      const left = newDirectory();
      cpSync(state, left, { recursive: true });
      rmSync(join(left, "lock"));
      const again = await start(left);
      for (const message of messages) assert.equal(again.open(message, []).kind, "refused");
      for (const topic of topics) assert.equal(again.open(await sealed(topic), []).kind, "message");
      await again.close();
      await receiver.close();
    }
    await sender.close();
  });
});

describe("a device that begins to count with a clock that was set back", () => {
  it("does not sort before itself: its certificate says what time it is at least", async (test) => {
    const state = mkdtempSync(join(tmpdir(), "postern-sealing-"));
    test.after(() => rmSync(state, { recursive: true }));
    const notBeforeMs = Date.now();
    test.mock.timers.enable({ apis: ["Date"], now: 1_000 });
    const own = key();
    const identity = { tenant: "plant", device: "boiler", key: own, notBeforeMs };
    const rules: SealRule[] = [{ filter: "#", mode: "signed" }];
    const sealing = await Sealing.start(identity, { state, rules, authorities: [] });
    const sent = { topic: "a", payload: Buffer.from("7"), qos: 1, retain: false, properties: {} } as const;
    const found = structureOf((await sealing.seal(sent)).payload);
    assert.ok(found.kind === "sealed");
    const seconds = Buffer.from(found.structure.header.instance).readUInt32BE();
    assert.equal(seconds, Math.floor(notBeforeMs / 1_000));
    await sealing.close();
  });
});
