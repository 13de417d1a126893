import { z } from "zod";

import type { Figures } from "../load/job.ts";

const figure = z.number().optional();

export const summary = z.strictObject({
  scenario: z.string(),
  peer: z.string(),
  rounds: z.number(),
  /** Of the server, for each message that was delivered; absent when its process is not known. */
  cpuMicroseconds: figure,
  /** How many times more that is than ours: the median over rounds, each compared with its own. */
  timesOurs: figure,
  /** Of the load generator. */
  generatorMicroseconds: z.number(),
  perSecond: z.number(),
  p50Microseconds: figure,
  p99Microseconds: figure,
  p999Microseconds: figure,
  residentBytes: z.number(),
  lost: z.number(),
  more: z.record(z.string(), z.number()),
  /** When, and of what commit; only where it is stored beside summaries of other runs. */
  run: z.string().optional(),
});

/** What the rounds of one scenario with one peer come to: medians. */
export type Summary = z.infer<typeof summary>;

/** @param ours The rounds of what it is compared with. */
export function summarize(
  scenario: string,
  peer: string,
  rounds: readonly Figures[],
  ours: readonly Figures[] | undefined,
): Summary {
  const of = (value: (figures: Figures) => number | undefined): number | undefined =>
    median(rounds.map(value).filter((number) => number !== undefined));
  const names = new Set(rounds.flatMap(({ more }) => Object.keys(more)));
  return {
    scenario,
    peer,
    rounds: rounds.length,
    cpuMicroseconds: of(cpuMicroseconds),
    timesOurs: ours === undefined || ours === rounds ? undefined : timesLess(ours, rounds),
    generatorMicroseconds:
      of(({ generatorNanoseconds, count }) => generatorNanoseconds / 1_000 / Math.max(1, count)) ?? 0,
    perSecond: of(({ count, seconds }) => count / seconds) ?? 0,
    p50Microseconds: of(({ latencyMicroseconds }) => latencyMicroseconds?.p50),
    p99Microseconds: of(({ latencyMicroseconds }) => latencyMicroseconds?.p99),
    p999Microseconds: of(({ latencyMicroseconds }) => latencyMicroseconds?.p999),
    residentBytes: of(({ residentBytes }) => residentBytes) ?? 0,
    lost: rounds.reduce((sum, { lost }) => sum + lost, 0),
    more: Object.fromEntries([...names].map((name) => [name, of(({ more }) => more[name]) ?? 0])),
  };
}

function cpuMicroseconds({ serverNanoseconds, count }: Figures): number | undefined {
  return serverNanoseconds === 0 || count === 0 ? undefined : serverNanoseconds / 1_000 / count;
}

/** How many times less processor time one needs than another: the median over rounds, each compared with its own. */
function timesLess(ours: readonly Figures[], theirs: readonly Figures[]): number | undefined {
  const ratios = ours.map((figures, round) => {
    const other = theirs[round];
    const mine = cpuMicroseconds(figures);
    const its = other === undefined ? undefined : cpuMicroseconds(other);
    return mine === undefined || its === undefined ? undefined : its / mine;
  });
  return median(ratios.filter((ratio) => ratio !== undefined));
}

export function median(values: readonly number[]): number | undefined {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  const [low, high] = [sorted[sorted.length % 2 === 0 ? middle - 1 : middle], sorted[middle]];
  return low === undefined || high === undefined ? undefined : (low + high) / 2;
}
