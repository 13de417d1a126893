/**
 * How many inputs a property of the codec is tried with: `quick` in a normal run; POSTERN_FUZZ_RUNS overrides it for
 * a long one.
 */
export function fuzzRuns(quick: number): { readonly numRuns: number } {
  const asked = Number(process.env["POSTERN_FUZZ_RUNS"] ?? quick);
  if (!Number.isSafeInteger(asked) || asked < 1) {
    throw new RangeError(`POSTERN_FUZZ_RUNS is ${asked}; it must be a number of runs, 1 or more`);
  }
  return { numRuns: asked };
}
