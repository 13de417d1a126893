/** Four words of a text, well mixed. */
function seedWords(text: string): [number, number, number, number] {
  const words: [number, number, number, number] = [0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a];
  for (let index = 0; index < text.length; index++) {
    const code = text.charCodeAt(index);
    words[0] = words[1] ^ Math.imul(words[0] ^ code, 0x9e3779b1);
    words[1] = words[2] ^ Math.imul(words[1] ^ code, 0x85ebca77);
    words[2] = words[3] ^ Math.imul(words[2] ^ code, 0xc2b2ae3d);
    words[3] = words[0] ^ Math.imul(words[3] ^ code, 0x27d4eb2f);
  }
  return words;
}

/**
 * Random numbers that depend on a seed alone (sfc32). Each purpose derives a stream of its own, so that one more node or an
 * attacker does not change what the others draw: runs with and without an attack differ by the attack only.
 */
export class Random {
  readonly #seed: string;
  readonly #state: [number, number, number, number];

  constructor(seed: string) {
    this.#seed = seed;
    this.#state = seedWords(seed);
    for (let round = 0; round < 15; round++) this.uint32();
  }

  /** Another stream, named by what it is for. */
  derive(purpose: string): Random {
    return new Random(`${this.#seed}/${purpose}`);
  }

  uint32(): number {
    const state = this.#state;
    const sum = (((state[0] + state[1]) | 0) + state[3]) | 0;
    state[3] = (state[3] + 1) | 0;
    state[0] = state[1] ^ (state[1] >>> 9);
    state[1] = (state[2] + (state[2] << 3)) | 0;
    state[2] = (((state[2] << 21) | (state[2] >>> 11)) + sum) | 0;
    return sum >>> 0;
  }

  /** From 0 to below 1. */
  fraction(): number {
    return this.uint32() / 2 ** 32;
  }

  /** An integer from 0 to below `limit`. */
  below(limit: number): number {
    return Math.floor(this.fraction() * limit);
  }

  bytes(count: number): Uint8Array {
    return Uint8Array.from({ length: count }, () => this.below(256));
  }

  /** An integer with this mean, exponentially distributed: the time to the next of events that know nothing of each other. */
  exponential(mean: number): number {
    return Math.round(-mean * Math.log(1 - this.fraction()));
  }

  /** Mean 0, standard deviation 1. */
  normal(): number {
    const radius = Math.sqrt(-2 * Math.log(1 - this.fraction()));
    return radius * Math.cos(2 * Math.PI * this.fraction());
  }
}
