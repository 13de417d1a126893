import type { Curve, GrowthReport } from "./report.ts";
import { number } from "./table.ts";

/** Up to this factor from the first tenfold to the last a cost counts as flat: measurements are no better. */
const flatFactor = 1.5;

/** How cost grows: the curves as tables, and what each says. */
export function growthSection({ machine, curves }: GrowthReport): string {
  return [
    "## How cost grows",
    "",
    `\`npm run bench -- growth --write-docs\` on ${machine.date} UTC, commit ${machine.commit}. Each point has a server of its own. "Each" is what one costs the server to take up; the last column is what a message`,
    "between 20 pairs costs while all of them are there. All figures: [growth.json](benchmarks/growth.json).",
    "",
    ...curves.flatMap(curveTable),
  ].join("\n");
}

function curveTable({ name, of, points }: Curve): string[] {
  return [
    `### ${name}`,
    "",
    `| ${of} | CPU µs each | memory each, bytes | CPU µs for a message |`,
    "|---|---|---|---|",
    ...points.map(
      ({ count, microsecondsEach, bytesEach, messageMicroseconds }) =>
        `| ${number(count, 0)} | ${number(microsecondsEach, 2)} | ${number(bytesEach, 0)} | ${number(messageMicroseconds, 2)} |`,
    ),
    "",
    `From the second point to the last, CPU for each ${verdict(points.map(({ microsecondsEach }) => microsecondsEach))}, memory for each ${verdict(points.map(({ bytesEach }) => bytesEach))}, CPU for a message ${verdict(points.map(({ messageMicroseconds }) => messageMicroseconds))}.`,
    "",
  ];
}

/** The first point is left out: what a server takes once is shared by few there. */
function verdict(values: readonly number[]): string {
  const [, from] = values;
  const to = values.at(-1);
  if (from === undefined || to === undefined || values.length < 3) return "has too few points to say";
  const factor = to / from;
  if (factor > flatFactor) return `grows by a factor of ${number(factor, 1)}`;
  return factor < 1 / flatFactor ? "falls" : "is flat";
}
