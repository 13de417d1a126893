import assert from "node:assert/strict";
import { describe, it } from "node:test";

import * as fc from "fast-check";

import { decodeCose } from "../cose/message.ts";
import { openCose } from "../cose/open-cose.ts";
import { openKeyPackage } from "../groups/key-package.ts";
import { decodeContent } from "../groups/package-content.ts";
import { verifyingKey } from "../keys/signature.ts";
import { hostileBytes, testBinding, testKey, testParty } from "../testing.ts";
import { open } from "./open.ts";
import { sealModes, structureOf } from "./structure.ts";

describe("whatever comes as a sealed payload", () => {
  const { keys } = testParty();
  const { tenant, topic } = testBinding;

  it("is opened or refused with a code, and nothing throws", () => {
    fc.assert(
      fc.property(hostileBytes(), (bytes) => {
        const structure = structureOf(bytes);
        const result = open(bytes, { tenant, topic }, keys, { modes: sealModes });
        if (structure.kind !== "sealed")
          assert.equal(result.kind === "refused" && result.code, structure.kind);
        else assert.ok(result.kind === "opened" || result.reason !== "");
      }),
      { numRuns: 400 },
    );
  });

  it("is no reason to throw for the other decoders either", () => {
    const { publicKey, privateKey } = testKey("P-256");
    const authorities = [verifyingKey(publicKey)];
    fc.assert(
      fc.property(hostileBytes(), (bytes) => {
        const decoded = decodeCose(bytes, { untagged: "sign1" });
        if (decoded.kind === "message") {
          for (const key of [publicKey, privateKey])
            assert.equal(openCose(decoded.message, key).kind, "refused");
        }
        const address = { tenant, device: "a" };
        assert.equal(openKeyPackage(bytes, address, { authorities, decryption: [] }).kind, "refused");
        decodeContent(bytes);
      }),
      { numRuns: 400 },
    );
  });
});
