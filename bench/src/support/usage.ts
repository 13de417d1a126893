/** Runs a benchmark. What was typed wrongly, a `RangeError`, is said in its sentence, and ends with 2. */
export async function runBenchmark(main: () => Promise<void>): Promise<void> {
  try {
    await main();
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
    console.error(error.message);
    process.exitCode = 2;
  }
}

/** Throws `RangeError` for a part of a benchmark whose document shows the whole of one run. */
export function refuseDocumentOfPart(options: {
  readonly only?: string | undefined;
  readonly "write-docs": boolean;
}): void {
  if (options["write-docs"] && (options.only ?? "") !== "")
    throw new RangeError("--only measures a part, and --write-docs shows the whole: give one of them");
}

/** Throws `RangeError` when `text` is no whole or broken number above 0, up to `max`. */
export function positive(name: string, text: string, max: number): number {
  const value = Number(text);
  if (value > 0 && value <= max) return value;
  throw new RangeError(`--${name} wants a number above 0, up to ${max}, not ${text}`);
}
