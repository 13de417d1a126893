import type { Result } from "../comparison.ts";
import { summarize, timesLess } from "./summary.ts";

const headings = [
  "scenario",
  "peer",
  "CPU µs",
  "x less",
  "per s",
  "p50 ms",
  "p99 ms",
  "p99.9 ms",
  "MB",
  "generator µs",
] as const;

/** The lines of a table for people: one for each scenario and peer. `ours` is what all are compared with. */
export function tableRows(results: readonly Result[], ours: string): string[][] {
  return results.map(({ scenario, peer, rounds }) => {
    const summary = summarize(scenario.name, peer, rounds);
    const own = results.find((other) => other.scenario === scenario && other.peer === ours);
    const ratio = own === undefined || peer === ours ? undefined : timesLess(own.rounds, rounds);
    return [
      scenario.name,
      summary.lost > 0 ? `${peer} (${summary.lost} lost)` : peer,
      number(summary.cpuMicroseconds, 2),
      ratio === undefined ? "" : number(ratio, 2),
      number(summary.perSecond, 0),
      milliseconds(summary.p50Microseconds),
      milliseconds(summary.p99Microseconds),
      milliseconds(summary.p999Microseconds),
      number(summary.residentBytes / 1_048_576, 0),
      number(summary.generatorMicroseconds, 2),
    ];
  });
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

function milliseconds(microseconds: number | undefined): string {
  return microseconds === undefined ? "" : number(microseconds / 1_000, 2);
}

function number(value: number | undefined, digits: number): string {
  if (value === undefined) return "";
  return value.toLocaleString("en-US", { minimumFractionDigits: digits, maximumFractionDigits: digits });
}
