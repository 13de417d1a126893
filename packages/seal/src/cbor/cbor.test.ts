import assert from "node:assert/strict";
import { describe, it } from "node:test";

import * as fc from "fast-check";

import { decodeCbor } from "./decode.ts";
import { encodeCbor } from "./encode.ts";
import { CborTagged, depthMax, itemsMax, type CborKey, type CborValue } from "./value.ts";

function hex(text: string): Buffer {
  return Buffer.from(text.replaceAll(/\s/g, ""), "hex");
}

/** @see RFC 8949 appendix A: what of it is integers, strings, arrays, maps, tags and simple values */
const examples: readonly (readonly [string, CborValue])[] = [
  ["00", 0],
  ["17", 23],
  ["1818", 24],
  ["1864", 100],
  ["1903e8", 1000],
  ["1a000f4240", 1_000_000],
  ["1b000000e8d4a51000", 1_000_000_000_000],
  ["1bffffffffffffffff", 18_446_744_073_709_551_615n],
  ["3bffffffffffffffff", -18_446_744_073_709_551_616n],
  ["20", -1],
  ["29", -10],
  ["3863", -100],
  ["3903e7", -1000],
  ["f4", false],
  ["f5", true],
  ["f6", null],
  ["f7", undefined],
  ["c11a514b67b0", new CborTagged(1, 1_363_896_240)],
  ["40", Buffer.alloc(0)],
  ["4401020304", Buffer.of(1, 2, 3, 4)],
  ["60", ""],
  ["6449455446", "IETF"],
  ["62c3bc", "ü"],
  ["63e6b0b4", "水"],
  ["64f0908591", "𐅑"],
  ["80", []],
  ["8301820203820405", [1, [2, 3], [4, 5]]],
  ["a0", new Map()],
  [
    "a201020304",
    new Map([
      [1, 2],
      [3, 4],
    ]),
  ],
  [
    "a26161016162820203",
    new Map<CborKey, CborValue>([
      ["a", 1],
      ["b", [2, 3]],
    ]),
  ],
];

const values = fc.letrec<{ value: CborValue }>((tie) => ({
  value: fc.oneof(
    { depthSize: "small" },
    fc.integer(),
    fc.maxSafeInteger(),
    fc.bigInt({ min: 2n ** 53n, max: 2n ** 64n - 1n }),
    fc.bigInt({ min: -(2n ** 64n), max: -(2n ** 53n) }),
    fc.string({ unit: "binary" }),
    fc.uint8Array().map((bytes) => Buffer.from(bytes)),
    fc.constantFrom(true, false, null, undefined),
    fc.array(tie("value"), { maxLength: 4 }),
    fc
      .uniqueArray(fc.tuple(fc.oneof(fc.integer(), fc.string()), tie("value")), {
        maxLength: 4,
        selector: ([key]) => key,
      })
      .map((entries) => new Map<CborKey, CborValue>(entries)),
    fc.tuple(fc.nat(), tie("value")).map(([tag, value]) => new CborTagged(tag, value)),
  ),
})).value;

function zerosOf(keys: readonly CborKey[]): string {
  return encodeCbor(new Map(keys.map((key) => [key, 0]))).toString("hex");
}

function zeros(length: number): Buffer {
  return encodeCbor(Array.from({ length }, () => 0));
}

describe("deterministic CBOR", () => {
  it("is that of RFC 8949 appendix A", () => {
    for (const [bytes, value] of examples) {
      assert.equal(encodeCbor(value).toString("hex"), bytes);
      assert.deepEqual(decodeCbor(hex(bytes)), { kind: "value", value });
    }
  });

  it("gives back whatever was put in, and the same bytes again", () => {
    fc.assert(
      fc.property(values, (value) => {
        const bytes = encodeCbor(value);
        const decoded = decodeCbor(bytes);
        assert.ok(decoded.kind === "value");
        assert.deepEqual(encodeCbor(decoded.value), bytes);
      }),
    );
  });

  it("sorts keys by their bytes, whatever the order they were put in (§4.2.1)", () => {
    const keys: CborKey[] = [10, 100, -1, "z", "aa", 1, "a", -100];
    assert.equal(zerosOf(keys), zerosOf(keys.toReversed()));
    assert.equal(
      zerosOf(keys),
      "a8 01 00 0a 00 1864 00 20 00 3863 00 6161 00 617a 00 626161 00".replaceAll(" ", ""),
    );
  });

  it("has no numbers but integers", () => {
    for (const value of [0.5, NaN, Infinity, 2 ** 60]) assert.throws(() => encodeCbor(value), RangeError);
  });

  const refused: readonly (readonly [name: string, bytes: string, reason: RegExp])[] = [
    ["nothing at all", "", /the bytes end/],
    ["an item that is cut off", "1903", /the bytes end/],
    ["bytes after the item", "0000", /1 bytes follow/],
    ["a number that would fit into fewer bytes", "1817", /shortest form/],
    ["a length that would fit into fewer bytes", "590001 00", /shortest form/],
    ["8 bytes for what 4 hold", "1b00000000ffffffff", /shortest form/],
    ["an indefinite length", "9f00ff", /indefinite/],
    ["an indefinite string", "5f41 00ff", /indefinite/],
    ["a reserved length", "1c", /reserved/],
    ["a half", "f93800", /floating point/],
    ["a double", "fb3ff199999999999a", /floating point/],
    ["a simple value without a meaning", "f0", /without a meaning/],
    ["a simple value in two bytes", "f820", /without a meaning/],
    ["a byte string longer than the bytes", "5affffffff 00", /longer than the bytes/],
    ["an array longer than the bytes", "9bffffffffffffffff", /longer than the bytes/],
    ["a map longer than the bytes", "ba7fffffff00", /longer than the bytes/],
    ["a text that is not UTF-8", "61ff", /not UTF-8/],
    ["a surrogate in UTF-8", "63eda080", /not UTF-8/],
    ["a key twice", "a2 01 00 01 00", /there before/],
    ["keys out of order", "a2 02 00 01 00", /out of order/],
    ["a key that is an array", "a1 80 00", /neither an integer nor a text/],
    ["a tag of 2^60", "db1000000000000000 00", /beyond 2\^53/],
    ["17 levels", "81".repeat(17) + "80", /16 levels/],
    ["17 tags", "c1".repeat(17) + "00", /16 levels/],
  ];
  for (const [name, bytes, reason] of refused) {
    it(`refuses ${name}`, () => {
      const result = decodeCbor(hex(bytes));
      assert.match(result.kind === "malformed" ? result.reason : "was accepted", reason);
    });
  }

  it(`refuses more than ${itemsMax} items, and takes as many`, () => {
    assert.equal(decodeCbor(zeros(itemsMax - 1)).kind, "value");
    assert.equal(decodeCbor(zeros(itemsMax)).kind, "malformed");
    assert.equal(decodeCbor(hex("81".repeat(depthMax) + "00")).kind, "value");
  });

  it("takes keys in any order and longer forms where others wrote it, but nothing twice", () => {
    const form = { form: "preferred" } as const;
    assert.equal(decodeCbor(hex("a2 02 00 01 00"), form).kind, "value");
    assert.equal(decodeCbor(hex("1817"), form).kind, "value");
    assert.equal(decodeCbor(hex("a2 01 00 1801 00"), form).kind, "malformed");
    assert.equal(decodeCbor(hex("9f00ff"), form).kind, "malformed");
  });
});

describe("whatever bytes come", () => {
  it("the decoder gives one encoding of a value or says what is wrong, and never throws", () => {
    const noise = fc.uint8Array({ maxLength: 64 });
    const mutated = fc.tuple(values, fc.nat(), fc.nat(255)).map(([value, at, byte]) => {
      const bytes = encodeCbor(value);
      bytes[at % bytes.length] = byte;
      return bytes;
    });
    fc.assert(
      fc.property(fc.oneof(noise, mutated), (bytes) => {
        const result = decodeCbor(bytes);
        if (result.kind === "value") assert.equal(Buffer.compare(encodeCbor(result.value), bytes), 0);
      }),
      { numRuns: 500 },
    );
  });
});
