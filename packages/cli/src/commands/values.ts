import { InvalidArgumentError, type Command } from "commander";

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

/** Options of commands that work on a server, running or not: which one, and `--json`. */
export function withPlace(command: Command): Command {
  return command
    .optionsGroup("Which server:")
    .option("--data <directory>", "its data directory (default: ./postern-data)")
    .option(
      "--config <file>",
      "its configuration (default: postern.yaml in the data directory, when there is one)",
    )
    .optionsGroup("Output:")
    .option("--json", "for programs");
}
