import assert from "node:assert/strict";
import { describe, it } from "node:test";

import * as fc from "fast-check";

import { decodeCbor } from "../cbor/decode.ts";
import { decodeCose } from "../cose/message.ts";
import { decodeContent } from "../groups/package-content.ts";
import { ReplayGuard } from "../replay/replay-guard.ts";
import { hostileBytes, testBinding, testParty } from "../testing.ts";
import { open } from "./open.ts";
import { sealModes } from "./structure.ts";

describe("a long time of hostile payloads", () => {
  const { keys } = testParty();
  const { tenant, topic } = testBinding;

  it("throws nowhere, takes no more memory in the end than in the beginning, and no single one takes long", () => {
    let slowestMs = 0;
    const run = (numRuns: number): number => {
      fc.assert(
        fc.property(hostileBytes(), (bytes) => {
          const before = performance.now();
          open(bytes, { tenant, topic }, keys, { modes: sealModes });
          decodeCbor(bytes, { form: "preferred" });
          decodeCose(bytes, { untagged: "encrypt" });
          decodeContent(bytes);
          ReplayGuard.decode(bytes);
          slowestMs = Math.max(slowestMs, performance.now() - before);
        }),
        { numRuns },
      );
      return process.memoryUsage().heapUsed;
    };
    run(20_000);
    const early = run(20_000);
    const late = run(200_000);
    assert.ok(late < early + 64 * 1024 * 1024, `${early} bytes of heap, then ${late}`);
    assert.ok(slowestMs < 2_000, `${slowestMs} ms for one`);
  });

  it("has one megabyte of the worst there is decoded in less than seconds", () => {
    const worst = [
      Buffer.alloc(1_048_576, 0x81),
      Buffer.alloc(1_048_576, 0x80),
      Buffer.concat([Buffer.of(0x9a, 0, 0xff, 0xff, 0xff), Buffer.alloc(1_048_576)]),
      Buffer.concat([Buffer.of(0xba, 0, 0x07, 0xff, 0xff), Buffer.alloc(1_048_576)]),
      Buffer.concat([Buffer.of(0xd8, 0x60), Buffer.alloc(1_048_576, 0xd8)]),
    ];
    for (const bytes of worst) {
      const before = performance.now();
      assert.notEqual(open(bytes, { tenant, topic }, keys, { modes: sealModes }).kind, "opened");
      assert.ok(performance.now() - before < 2_000);
    }
  });
});
