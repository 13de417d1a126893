/** Buckets for each power of two: a value is known to 1.6 %. */
const stepsPerOctave = 64;
const octaves = 32;

/** Counts durations in microseconds, from 1 µs to an hour, in buckets that grow with the value, as HDR Histogram does. */
export class Histogram {
  readonly #counts = new Float64Array(stepsPerOctave * octaves);
  #total = 0;

  get total(): number {
    return this.#total;
  }

  record(microseconds: number): void {
    const value = microseconds < 1 ? 1 : microseconds;
    const index = Math.min(this.#counts.length - 1, Math.floor(Math.log2(value) * stepsPerOctave));
    this.#counts[index] = (this.#counts[index] ?? 0) + 1;
    this.#total += 1;
  }

  clear(): void {
    this.#counts.fill(0);
    this.#total = 0;
  }

  /** The duration in microseconds that a share of all does not exceed; `undefined` of none. */
  quantile(share: number): number | undefined {
    let rest = Math.ceil(this.#total * share);
    if (this.#total === 0) return undefined;
    for (const [index, count] of this.#counts.entries()) {
      rest -= count;
      if (rest <= 0) return 2 ** ((index + 0.5) / stepsPerOctave);
    }
    return undefined;
  }
}
