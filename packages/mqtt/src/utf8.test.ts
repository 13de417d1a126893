import assert from "node:assert/strict";
import { describe, it } from "node:test";

import * as fc from "fast-check";

import { decodeUtf8, hasDiscouragedCharacters } from "./utf8.ts";

function decode(hex: string): string | undefined {
  const bytes = Buffer.from(`ee${hex}ee`, "hex");
  return decodeUtf8(bytes, 1, bytes.length - 1);
}

describe("UTF-8 strings (MQTT 5.0 §1.5.4)", () => {
  const sound: readonly (readonly [what: string, hex: string, text: string])[] = [
    ["an empty string", "", ""],
    ["ASCII", "6d717474", "mqtt"],
    ["the example of the specification: A and U+2A6D4", "41f0aa9b94", "A\u{2a6d4}"],
    ["U+0080, the first of two bytes", "c280", "\u0080"],
    ["U+07FF, the last of two bytes", "dfbf", "\u07ff"],
    ["U+0800, the first of three bytes", "e0a080", "\u0800"],
    ["U+D7FF, the last before the surrogates", "ed9fbf", "\ud7ff"],
    ["U+E000, the first after the surrogates", "ee8080", "\ue000"],
    ["U+FFFF, a non-character", "efbfbf", "\uffff"],
    ["U+10000, the first of four bytes", "f0908080", "\u{10000}"],
    ["U+10FFFF, the last of all", "f48fbfbf", "\u{10ffff}"],
    ["U+FEFF at the start, which is kept [MQTT-1.5.4-3]", "efbbbf61", "\ufeffa"],
    ["U+FEFF in the middle, which is kept [MQTT-1.5.4-3]", "61efbbbf62", "a\ufeffb"],
    ["control characters, which a receiver may let through", "01027f", "\u0001\u0002\u007f"],
  ];
  for (const [what, hex, text] of sound) it(`takes ${what}`, () => assert.equal(decode(hex), text));

  const unsound: readonly (readonly [what: string, hex: string])[] = [
    ["U+0000 [MQTT-1.5.4-2]", "610062"],
    ["U+0000 among other than ASCII [MQTT-1.5.4-2]", "c3a400"],
    ["U+0000 in two bytes", "c080"],
    ["U+D800, the first surrogate [MQTT-1.5.4-1]", "eda080"],
    ["U+DFFF, the last surrogate [MQTT-1.5.4-1]", "edbfbf"],
    ["a pair of surrogates (CESU-8)", "eda081edb080"],
    ["a slash in two bytes", "c0af"],
    ["a slash in three bytes", "e080af"],
    ["a slash in four bytes", "f08080af"],
    ["U+007F in two bytes", "c1bf"],
    ["U+110000", "f4908080"],
    ["a lead byte of five bytes", "f888808080"],
    ["a continuation alone", "80"],
    ["a lead byte alone", "c3"],
    ["a lead byte before ASCII", "c328"],
    ["a cut character", "e282"],
    ["the byte FE", "fe"],
    ["the byte FF", "ff"],
  ];
  for (const [what, hex] of unsound) it(`refuses ${what}`, () => assert.equal(decode(hex), undefined));

  it("takes exactly what the platform's strict decoder takes, without U+0000", () => {
    const strict = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
    const bytes = fc.oneof(
      fc.uint8Array({ maxLength: 12 }),
      fc.string({ unit: "binary" }).map((text) => new Uint8Array(Buffer.from(text))),
    );
    fc.assert(
      fc.property(bytes, (bytes) => {
        let expected: string | undefined;
        try {
          expected = strict.decode(bytes);
        } catch {
          expected = undefined;
        }
        if (bytes.includes(0)) expected = undefined;
        assert.equal(decodeUtf8(Buffer.from(bytes), 0, bytes.length), expected);
      }),
      { numRuns: 1_000 },
    );
  });
});

describe("characters a sender should not use (MQTT 5.0 §1.5.4)", () => {
  for (const text of [
    "\u0001",
    "a\u001f",
    "\u007f",
    "\u009f",
    "\ufdd0",
    "\ufdef",
    "\ufffe",
    "x\u{1ffff}",
    "\u{10fffe}",
  ]) {
    it(`finds U+${text.codePointAt(text.length > 1 && text < "y" ? 1 : 0)?.toString(16)}`, () => {
      assert.equal(hasDiscouragedCharacters(text), true);
    });
  }
  for (const text of [
    "",
    "plain text",
    "\u00a0",
    "\ufdcf\ufdf0",
    "\ufffd\ufeff",
    "\u{1fffd}",
    "Ünïcödé \u{1f512}",
  ]) {
    it(`finds none in ${JSON.stringify(text)}`, () => assert.equal(hasDiscouragedCharacters(text), false));
  }
});
