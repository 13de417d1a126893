import assert from "node:assert/strict";

const strictUtf8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/** Reads one packet's body front to back and insists on the data types of the specification. @see MQTT 5.0 §1.5 */
export class Reader {
  readonly #bytes: Uint8Array;
  #offset = 0;

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
  }

  get atEnd(): boolean {
    return this.#offset === this.#bytes.length;
  }

  take(count: number): Uint8Array {
    const end = this.#offset + count;
    assert.ok(end <= this.#bytes.length, `the broker's packet ends early: ${describeBytes(this.#bytes)}`);
    const taken = this.#bytes.subarray(this.#offset, end);
    this.#offset = end;
    return taken;
  }

  rest(): Uint8Array {
    return this.take(this.#bytes.length - this.#offset);
  }

  u8(): number {
    return this.take(1)[0] ?? 0;
  }

  u16(): number {
    return this.u8() * 0x100 + this.u8();
  }

  u32(): number {
    return this.u16() * 0x1_00_00 + this.u16();
  }

  binary(): Uint8Array {
    return this.take(this.u16());
  }

  /** [MQTT-1.5.4-1], [MQTT-1.5.4-2] */
  text(): string {
    const value = strictUtf8.decode(this.binary());
    assert.ok(!value.includes("\0"), "the broker sent a string with U+0000");
    return value;
  }

  /** [MQTT-1.5.5-1] */
  variableByteInteger(): number {
    let value = 0;
    for (let factor = 1; ; factor *= 128) {
      const digit = this.u8();
      value += (digit & 0x7f) * factor;
      if (digit < 0x80) {
        assert.ok(digit > 0 || factor === 1, "the broker used more bytes than needed for an integer");
        return value;
      }
      assert.ok(factor < 128 ** 3, "the broker sent an integer of more than four bytes");
    }
  }
}

export function describeBytes(bytes: Uint8Array): string {
  const shown = Buffer.from(bytes.subarray(0, 64)).toString("hex");
  return bytes.length > 64 ? `${shown}… (${bytes.length} bytes)` : shown;
}
