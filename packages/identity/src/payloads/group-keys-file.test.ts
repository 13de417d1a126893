import assert from "node:assert/strict";
import { describe, it } from "node:test";

import { GroupKey } from "@postern/seal/keys/group-key";

import { formatGroupKeys, formatMacKeys, parseGroupKeys, parseMacKeys } from "./group-keys-file.ts";

const secret = Buffer.alloc(32, 7);
const key = secret.toString("base64");

describe("a file with the keys of a group", () => {
  it("holds what it was written from: all that members have, or MAC keys that read nothing", () => {
    const epochs = [
      { epoch: 3, secret, notBeforeMs: 1_000 },
      { epoch: 4, secret: Buffer.alloc(32, 8), notBeforeMs: 2_000 },
    ];
    const keys = parseGroupKeys(formatGroupKeys("meters", epochs));
    assert.ok(typeof keys === "object");
    assert.deepEqual(
      keys.map(({ key, notBeforeMs }) => [key.epoch, key.canEncrypt, notBeforeMs]),
      [
        [4, true, 2_000],
        [3, true, 1_000],
      ],
    );
    const macs = parseMacKeys(formatMacKeys("meters", [GroupKey.of(secret, 3)]));
    assert.ok(typeof macs === "object");
    assert.deepEqual([macs.size, macs.get(3)?.canEncrypt], [1, false]);
  });

  it("may say nothing of the time of a key, which is then good at once", () => {
    const keys = parseGroupKeys(JSON.stringify({ postern: 1, groupKeys: [{ epoch: 1, key }] }));
    assert.ok(typeof keys === "object");
    assert.equal(keys[0]?.notBeforeMs, 0);
  });

  it("is refused when it is none, with a sentence that shows nothing of the keys", () => {
    const wrong: readonly (readonly [text: string, sentence: RegExp])[] = [
      [`{"postern": 1, "groupKeys": [{"epoch": 1, "key": ${key}`, /^it is not JSON$/],
      [JSON.stringify({ postern: 1, groupKeys: [] }), /"groupKeys"/],
      [JSON.stringify({ postern: 1, macKeys: [{ epoch: 1, key }] }), /groupKeys/],
      [JSON.stringify({ postern: 1, groupKeys: [{ epoch: 1, key: "AAAA" }] }), /epoch 1 .* 32 bytes/],
      [JSON.stringify({ postern: 1, groupKeys: [{ epoch: 1, key, notBefore: "soon" }] }), /notBefore/],
      [
        JSON.stringify({
          postern: 1,
          groupKeys: [
            { epoch: 1, key },
            { epoch: 1, key },
          ],
        }),
        /two keys of epoch 1/,
      ],
    ];
    for (const [text, sentence] of wrong) {
      const problem = parseGroupKeys(text);
      assert.ok(typeof problem === "string", text);
      assert.match(problem, sentence);
      assert.equal(problem.includes(key), false);
    }
  });
});
