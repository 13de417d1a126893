import type { Summary } from "./summary.ts";

const headings = [
  "scenario",
  "peer",
  "CPU µs",
  "x ours",
  "per s",
  "p50 ms",
  "p99 ms",
  "p99.9 ms",
  "MB",
  "generator µs",
] as const;

/** The lines of a table for people: one for each scenario and peer. */
export function tableRows(summaries: readonly Summary[]): string[][] {
  return summaries.map((summary) => [
    summary.scenario,
    summary.lost > 0 ? `${summary.peer} (${summary.lost} lost)` : summary.peer,
    number(summary.cpuMicroseconds, 2),
    number(summary.timesOurs, 2),
    number(summary.perSecond, 0),
    milliseconds(summary.p50Microseconds),
    milliseconds(summary.p99Microseconds),
    milliseconds(summary.p999Microseconds),
    number(summary.residentBytes / 1_048_576, 0),
    number(summary.generatorMicroseconds, 2),
  ]);
}

export function textTable(rows: readonly (readonly string[])[], heads: readonly string[] = headings): string {
  const all = [heads, ...rows];
  const widths = heads.map((_, column) => Math.max(...all.map((row) => (row[column] ?? "").length)));
  const line = (row: readonly string[]): string =>
    row
      .map((cell, column) =>
        column < 2 ? cell.padEnd(widths[column] ?? 0) : cell.padStart(widths[column] ?? 0),
      )
      .join("  ")
      .trimEnd();
  return all.map(line).join("\n");
}

export function milliseconds(microseconds: number | undefined): string {
  return microseconds === undefined ? "" : number(microseconds / 1_000, 2);
}

export function number(value: number | undefined, digits: number): string {
  if (value === undefined) return "";
  return value.toLocaleString("en-US", { minimumFractionDigits: digits, maximumFractionDigits: digits });
}
