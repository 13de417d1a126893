import { parseArgs, type ParseArgsConfig } from "node:util";

/** The options and names of the command line; what it does not know is said in a sentence, and ends the program with 2. */
export function readOptions<T extends ParseArgsConfig>(config: T): ReturnType<typeof parseArgs<T>> {
  try {
    return parseArgs(config);
  } catch (error) {
    if (!(error instanceof TypeError) || !("code" in error)) throw error;
    console.error(`${error.message.split(". ")[0] ?? ""}; --help names the options`);
    process.exit(2);
  }
}

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
