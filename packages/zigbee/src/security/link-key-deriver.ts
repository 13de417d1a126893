import { type AesKey, createAesKey, encryptWords, expandWords } from "./aes.ts";

/** Input of the keyed hash that makes a key-transport or key-load key of a link key. @see Zigbee §4.5.3 */
export type DerivedKeyInput = 0x00 | 0x02;

const zeroKey = createAesKey(new Uint8Array(16));
/** Bits of 16 + 1 and 16 + 16 bytes, which stand at the end of the last block. @see Zigbee §B.6 */
const innerBits = 136;
const outerBits = 256;

/**
 * Derives keys of link keys as `keyTransportKey` and `keyLoadKey` do, for those who try millions: with no new array, and knowing that
 * the inputs have one byte. The hash over a block turns it into the key of the next, so that most of the time goes into expanding.
 */
export class LinkKeyDeriver {
  readonly #key: AesKey = createAesKey(new Uint8Array(16));
  readonly #block = new Uint32Array(4);
  readonly #hash = new Uint32Array(4);

  /** Leaves the derived key in `to`, both as four words. */
  derive(linkKey: Uint32Array, input: DerivedKeyInput, to: Uint32Array): void {
    const [hash, block] = [this.#hash, this.#block];
    this.#padded(linkKey, 0x36363636);
    expandWords(this.#key, hash);
    block.fill(0);
    block[0] = (input << 24) | 0x800000;
    block[3] = innerBits;
    this.#digest();
    // What the inner hash came to is the message of the outer one.
    to.set(hash);
    this.#padded(linkKey, 0x5c5c5c5c);
    expandWords(this.#key, hash);
    block.set(to);
    this.#digest();
    expandWords(this.#key, hash);
    block.fill(0);
    block[0] = 0x80000000;
    block[3] = outerBits;
    this.#digest();
    to.set(hash);
  }

  /** The hash over the first block, which is the key with a pad. */
  #padded(linkKey: Uint32Array, pad: number): void {
    for (let index = 0; index < 4; index++) {
      const word = (linkKey[index] ?? 0) ^ pad;
      this.#block[index] = word;
      this.#hash[index] = word;
    }
    encryptWords(zeroKey, this.#hash);
    for (let index = 0; index < 4; index++)
      this.#hash[index] = (this.#hash[index] ?? 0) ^ (this.#block[index] ?? 0);
  }

  /** The hash over one more block, under the key that is expanded. */
  #digest(): void {
    const [hash, block] = [this.#hash, this.#block];
    hash.set(block);
    encryptWords(this.#key, hash);
    for (let index = 0; index < 4; index++) hash[index] = (hash[index] ?? 0) ^ (block[index] ?? 0);
  }
}
