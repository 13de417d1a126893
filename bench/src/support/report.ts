/** Prints one figure. */
export function figure(what: string, value: string): void {
  console.log(`${what.padEnd(64)} ${value}`);
}

/** The value below which a share of the sorted values lies; `undefined` of none. */
function quantile(values: readonly number[], share: number): number | undefined {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))];
}

/** `p50 0.19 ms, p99 4.79 ms, most 6.10 ms (2000)`. */
export function distribution(milliseconds: readonly number[]): string {
  const at = (share: number): string => `${quantile(milliseconds, share)?.toFixed(2) ?? "-"} ms`;
  return `p50 ${at(0.5)}, p99 ${at(0.99)}, most ${at(1)} (${milliseconds.length})`;
}

/** Runs `work` and prints what one of `count` things took. */
export async function timed(what: string, count: number, work: () => void | Promise<unknown>): Promise<void> {
  const begin = performance.now();
  await work();
  const ms = performance.now() - begin;
  figure(what, `${((1_000 * ms) / count).toFixed(1)} us each, ${Math.round((1_000 * count) / ms)} a second`);
}
