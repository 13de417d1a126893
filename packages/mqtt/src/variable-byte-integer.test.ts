import assert from "node:assert/strict";
import { describe, it } from "node:test";

import {
  readVariableByteInteger,
  variableByteIntegerBytes,
  variableByteIntegerIncomplete,
  variableByteIntegerMalformed,
  variableByteIntegerMax,
  writeVariableByteInteger,
} from "./variable-byte-integer.ts";

/** The limits of each length. @see MQTT 5.0 §1.5.5, Table 1-1 */
const vectors: readonly (readonly [value: number, hex: string])[] = [
  [0, "00"],
  [1, "01"],
  [127, "7f"],
  [128, "8001"],
  [321, "c102"],
  [16_383, "ff7f"],
  [16_384, "808001"],
  [2_097_151, "ffff7f"],
  [2_097_152, "80808001"],
  [variableByteIntegerMax, "ffffff7f"],
];

function read(hex: string): number {
  const bytes = Buffer.from(hex, "hex");
  return readVariableByteInteger(bytes, 0, bytes.length);
}

describe("variable byte integer (MQTT 5.0 §1.5.5)", () => {
  for (const [value, hex] of vectors) {
    it(`${value} is ${hex}, in both directions`, () => {
      const target = Buffer.alloc(6, 0xee);
      const end = writeVariableByteInteger(target, 1, value);
      assert.equal(target.toString("hex", 1, end), hex);
      assert.equal(target[end], 0xee);
      assert.equal(variableByteIntegerBytes(value), end - 1);
      assert.equal(readVariableByteInteger(target, 1, target.length), value);
    });

    it(`${value} is incomplete as long as a byte is missing`, () => {
      for (let bytes = 0; bytes < hex.length / 2; bytes++) {
        assert.equal(read(hex.slice(0, 2 * bytes)), variableByteIntegerIncomplete);
      }
    });
  }

  for (const hex of ["8000", "808000", "80808000", "ff00", "c18200"]) {
    it(`${hex} has more bytes than it needs [MQTT-1.5.5-1]`, () => {
      assert.equal(read(hex), variableByteIntegerMalformed);
    });
  }

  for (const hex of ["80808080", "ffffffff", "8080808001", "ffffffff7f"]) {
    it(`${hex} goes on after four bytes`, () => assert.equal(read(hex), variableByteIntegerMalformed));
  }
});
