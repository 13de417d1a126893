import { flatFactor, growthVerdict, logarithmFactor } from "./growth-verdict.ts";
import type { Curve, GrowthReport } from "./report.ts";
import { number } from "./table.ts";

type Point = Curve["points"][number];

/** A column of the tables. */
interface Column {
  readonly heading: string;
  readonly digits: number;
  readonly value: (point: Point) => number | undefined;
  /** What is said of it along the curve; without it nothing is. */
  readonly told?: string;
}

const more =
  (name: string, divisor = 1) =>
  (point: Point): number | undefined => {
    const value = point.more?.[name];
    return value === undefined ? undefined : value / divisor;
  };

const columns: readonly Column[] = [
  {
    heading: "CPU µs each",
    digits: 2,
    value: ({ microsecondsEach }) => microsecondsEach,
    told: "CPU for each",
  },
  { heading: "memory each, bytes", digits: 0, value: ({ bytesEach }) => bytesEach, told: "memory for each" },
  {
    heading: "CPU µs for a message",
    digits: 2,
    value: ({ messageMicroseconds }) => messageMicroseconds,
    told: "CPU for a message",
  },
  {
    heading: "a client with 10 subscriptions, CPU µs",
    digits: 0,
    value: more("clientMicroseconds"),
    told: "CPU for a client",
  },
  {
    heading: "its memory, bytes",
    digits: 0,
    value: more("clientBytes"),
    told: "its memory",
  },
  {
    heading: "start again: CPU µs each",
    digits: 2,
    value: more("restartMicrosecondsEach"),
    told: "CPU for each at a start",
  },
  { heading: "seconds", digits: 1, value: more("restartSeconds") },
  { heading: "memory each, bytes", digits: 0, value: more("restartBytesEach") },
  { heading: "memory at the most, MB", digits: 0, value: more("restartPeakBytes", 1_048_576) },
];

/** How cost grows: the curves as tables, and what each says. */
export function growthSection({ machine, curves }: GrowthReport): string {
  return [
    "## How cost grows",
    "",
    `\`npm run bench -- growth --far --write-docs\`, on ${machine.processor}, ${machine.cores} cores, ${machine.memoryGigabytes} GB, ${machine.system}, Node ${machine.node}. Each point has a server of its own. "Each" is what one`,
    'costs the server to take up, all its threads together, and the memory of its own that it has more afterwards; a message is one between 20 pairs while all of them are there, the median of five rounds. "Start again": the',
    "server was ended and started on what it had; processor time and memory beside a server that has nothing, seconds until it takes connections, and the most memory that was resident, mapped files among it.",
    "All figures: [growth.json](benchmarks/growth.json).",
    "",
    `From the second point to the last a cost is called **flat** up to ${flatFactor} times as much, **logarithmic at the most** when it grows no more than ${logarithmFactor} times as the logarithm of the count does, and otherwise it **grows**.`,
    "The first point is left out: what a server takes once is shared by few there. So are the figures of a start with few of anything, which the difference of two starts, a tenth of a second, is most of.",
    "A flat cost is a horizontal line here; one that grows as the count does climbs as fast as it goes to the right:",
    "",
    "![Costs along the curves, both axes logarithmic](benchmarks/growth.svg)",
    "",
    ...curves.flatMap((curve) => curveTable(curve, machine)),
  ].join("\n");
}

function curveTable({ name, of, points, run }: Curve, { date, commit }: GrowthReport["machine"]): string[] {
  const shown = columns.filter(({ value }) => points.some((point) => value(point) !== undefined));
  const counts = points.map(({ count }) => count);
  const told = shown.flatMap(({ told: what, value }) =>
    what === undefined
      ? []
      : [
          `${what} ${growthVerdict(
            counts,
            points.flatMap((point) => value(point) ?? []),
          )}`,
        ],
  );
  return [
    `### ${name}`,
    "",
    `${run ?? `${date} UTC, commit ${commit}`}.`,
    "",
    `| ${[of, ...shown.map(({ heading }) => heading)].join(" | ")} |`,
    `|${"---|".repeat(shown.length + 1)}`,
    ...points.map(
      (point) =>
        `| ${[number(point.count, 0), ...shown.map(({ value, digits }) => number(value(point), digits))].join(" | ")} |`,
    ),
    "",
    `From the second point to the last ${told.join("; ")}.`,
    "",
  ];
}
