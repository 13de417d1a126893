import type { Result } from "../comparison.ts";
import type { Figures } from "../load/job.ts";
import type { Scaling, ScalingReport } from "./report.ts";
import { median } from "./summary.ts";
import { milliseconds, number } from "./table.ts";

function busiest({ busiestNanoseconds, count }: Figures): number {
  return busiestNanoseconds / 1_000 / Math.max(1, count);
}

/** What the rounds with so many threads come to, compared with those of one, `one`, round by round. */
export function scalingOf({ scenario, peer, rounds }: Result, one: Result | undefined): Scaling {
  const of = (figure: (figures: Figures) => number | undefined): number =>
    median(rounds.flatMap((figures) => figure(figures) ?? [])) ?? 0;
  return {
    scenario: scenario.name,
    workers: Number(peer),
    cpuMicroseconds: of(({ serverNanoseconds, count }) => serverNanoseconds / 1_000 / Math.max(1, count)),
    busiestMicroseconds: of(busiest),
    timesOne:
      median(
        rounds.map((figures, round) => {
          const beside = one?.rounds[round];
          return beside === undefined ? 1 : busiest(beside) / busiest(figures);
        }),
      ) ?? 1,
    perSecond: of(({ count, seconds }) => count / seconds),
    p50Microseconds: of(({ latencyMicroseconds }) => latencyMicroseconds?.p50),
    p99Microseconds: of(({ latencyMicroseconds }) => latencyMicroseconds?.p99),
  };
}

/** What more threads are worth, as a table. */
export function scalingSection({ machine, found }: ScalingReport): string {
  return [
    "## Several cores",
    "",
    `\`npm run bench -- workers --write-docs\` on ${machine.date} UTC, commit ${machine.commit}, load of the machine before the run ${machine.loadBefore}. The same server with \`workers: 1\` and with more, measured in turns. Here the load`,
    `generator needs one of the ${machine.cores} cores, so rates cannot show what a further thread is worth where there is a core for it. What shows it is the thread that has most to do: "busiest" is its processor time for each message, and`,
    '"× one" how many times less that is than with one worker, which is how many times more messages the server takes where cores are free. All figures: [scaling.json](benchmarks/scaling.json).',
    "",
    "| scenario | workers | CPU µs | busiest µs | × one | a second | p50 ms | p99 ms |",
    "|---|---|---|---|---|---|---|---|",
    ...found.map(
      (scaling) =>
        `| \`${scaling.scenario}\` | ${scaling.workers} | ${number(scaling.cpuMicroseconds, 2)} | ${number(scaling.busiestMicroseconds, 2)} | ${number(scaling.timesOne, 2)} | ${number(scaling.perSecond, 0)} | ${milliseconds(scaling.p50Microseconds)} | ${milliseconds(scaling.p99Microseconds)} |`,
    ),
    "",
  ].join("\n");
}
