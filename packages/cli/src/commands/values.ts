import { InvalidArgumentError } from "commander";

const tenYearsSeconds = 315_360_000;
const unitSeconds: Readonly<Record<string, number>> = { s: 1, m: 60, h: 3_600, d: 86_400 };

/** A parser for commander: `90s`, `30m`, `24h`, `7d` as seconds. */
export function duration(text: string): number {
  const [, number = "", unit = ""] = /^(\d{1,9})([smhd])$/.exec(text) ?? [];
  const seconds = Number(number) * (unitSeconds[unit] ?? Number.NaN);
  if (number !== "" && seconds <= tenYearsSeconds) return seconds;
  throw new InvalidArgumentError("It must be a time such as 90s, 30m, 24h or 7d.");
}

/** A parser for commander: an option that may be given again. */
export function collected(value: string, before: readonly string[] = []): readonly string[] {
  return [...before, value];
}
