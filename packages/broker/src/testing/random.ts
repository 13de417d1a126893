/** Numbers that look random and come again with the same seed: what a test did can be done once more. */
export class Random {
  readonly seed: number;
  #state: number;

  /** @param seed 32 bits. */
  constructor(seed: number) {
    this.seed = seed >>> 0;
    this.#state = this.seed;
  }

  /** 32 random bits (mulberry32). */
  bits(): number {
    this.#state = (this.#state + 0x6d_2b_79_f5) >>> 0;
    let mixed = this.#state;
    mixed = Math.imul(mixed ^ (mixed >>> 15), mixed | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return (mixed ^ (mixed >>> 14)) >>> 0;
  }

  /** 0 to `below` - 1. */
  below(below: number): number {
    return Math.floor((this.bits() / 0x1_00_00_00_00) * below);
  }

  /** `from` to `to`, both included. */
  between(from: number, to: number): number {
    return from + this.below(to - from + 1);
  }

  /** True in `share` of all cases, 0 to 1. */
  chance(share: number): boolean {
    return this.bits() < share * 0x1_00_00_00_00;
  }

  /** One of the choices. @throws {RangeError} when there is none. */
  pick<T>(choices: readonly T[]): T {
    const picked = choices[this.below(choices.length)];
    if (picked === undefined) throw new RangeError("there is nothing to choose from");
    return picked;
  }

  bytes(count: number): Buffer {
    const bytes = Buffer.allocUnsafe(count);
    for (let index = 0; index < count; index += 1) bytes[index] = this.bits();
    return bytes;
  }

  /** A sequence of its own, which what is drawn here afterwards does not change. */
  branch(): Random {
    return new Random(this.bits());
  }
}
