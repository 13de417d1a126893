const windowsMinutes = [1, 5, 15] as const;

/** Exponentially damped rates per minute over 1, 5 and 15 minutes, as a Unix load average is. */
export class LoadAverages {
  readonly #intervalMs: number;
  readonly #last = new Map<string, number>();
  readonly #averages = new Map<string, number>();

  /** `update` is to be called every `intervalMs`. */
  constructor(intervalMs: number) {
    this.#intervalMs = intervalMs;
  }

  /** Takes the counters' present values; returns `load/NAME/5min` and so on, with two decimals. */
  update(counters: Readonly<Record<string, number>>): Record<string, string> {
    const result: Record<string, string> = {};
    for (const [name, count] of Object.entries(counters)) {
      const perMinute = ((count - (this.#last.get(name) ?? 0)) * 60_000) / this.#intervalMs;
      this.#last.set(name, count);
      for (const minutes of windowsMinutes) {
        const key = `load/${name}/${minutes}min`;
        const weight = Math.exp(-this.#intervalMs / (minutes * 60_000));
        const average = (this.#averages.get(key) ?? 0) * weight + perMinute * (1 - weight);
        this.#averages.set(key, average);
        result[key] = average.toFixed(2);
      }
    }
    return result;
  }
}
