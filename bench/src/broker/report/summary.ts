import type { Figures } from "../load/job.ts";

/** What the rounds of one scenario with one peer come to: medians. */
export interface Summary {
  readonly scenario: string;
  readonly peer: string;
  readonly rounds: number;
  /** Of the server, for each message that was delivered; `undefined` when its process is not known. */
  readonly cpuMicroseconds: number | undefined;
  readonly generatorMicroseconds: number;
  readonly perSecond: number;
  readonly p50Microseconds: number | undefined;
  readonly p99Microseconds: number | undefined;
  readonly p999Microseconds: number | undefined;
  readonly residentBytes: number;
  readonly lost: number;
  readonly more: Readonly<Record<string, number>>;
}

export function summarize(scenario: string, peer: string, rounds: readonly Figures[]): Summary {
  const of = (value: (figures: Figures) => number | undefined): number | undefined =>
    median(rounds.map(value).filter((number) => number !== undefined));
  const names = new Set(rounds.flatMap(({ more }) => Object.keys(more)));
  return {
    scenario,
    peer,
    rounds: rounds.length,
    cpuMicroseconds: of(cpuMicroseconds),
    generatorMicroseconds: of(({ generatorNanoseconds, count }) => generatorNanoseconds / 1_000 / count) ?? 0,
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
export function timesLess(ours: readonly Figures[], theirs: readonly Figures[]): number | undefined {
  const ratios = ours.map((figures, round) => {
    const other = theirs[round];
    const mine = cpuMicroseconds(figures);
    const its = other === undefined ? undefined : cpuMicroseconds(other);
    return mine === undefined || its === undefined ? undefined : its / mine;
  });
  return median(ratios.filter((ratio) => ratio !== undefined));
}

function median(values: readonly number[]): number | undefined {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  const [low, high] = [sorted[sorted.length % 2 === 0 ? middle - 1 : middle], sorted[middle]];
  return low === undefined || high === undefined ? undefined : (low + high) / 2;
}
