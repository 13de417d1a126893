/** How cost grows with what the server holds. `npm run bench -- growth [--help]` */
import { tmpdir } from "node:os";

import { ScratchDirectory } from "../support/scratch.ts";
import { endOnSignals } from "../support/signals.ts";
import { runBenchmark, readOptions } from "../support/usage.ts";
import { growths, type Growth } from "./growth/curves.ts";
import { checkRoom } from "./growth/room.ts";
import { Stage } from "./growth/stage.ts";
import { Generator } from "./load/generator.ts";
import { writeDocument } from "./report/document.ts";
import { machine } from "./report/machine.ts";
import type { Curve } from "./report/report.ts";
import { number } from "./report/table.ts";

const help = `Usage: npm run bench -- growth [NAME…] [OPTIONS]

  NAME                   only these curves: ${growths.map(({ key }) => key).join(", ")}
  --far                  further: a million subscriptions and retained messages, ten million queued ones (some 20 minutes)
  --write-docs           writes docs/benchmarks.md anew; each curve takes the place of what stood there of it

  npm run bench -- growth --far --write-docs
  npm run bench -- growth queued retained --far --write-docs
`;

endOnSignals();

/** Throws `RangeError` for a name that no curve has. */
function chosen(names: readonly string[]): readonly Growth[] {
  for (const name of names)
    if (!growths.some(({ key }) => key === name))
      throw new RangeError(
        `there is no curve ${name}; there are: ${growths.map(({ key }) => key).join(", ")}`,
      );
  return growths.filter(({ key }) => names.length === 0 || names.includes(key));
}

async function main(): Promise<void> {
  const { values: options, positionals } = readOptions({
    allowPositionals: true,
    options: {
      help: { type: "boolean", default: false },
      far: { type: "boolean", default: false },
      "write-docs": { type: "boolean", default: false },
    },
  });
  if (options.help) {
    console.log(help);
    return;
  }
  const wanted = chosen(positionals);
  if (options.far) checkRoom(tmpdir());
  using scratch = new ScratchDirectory("postern-growth");
  const root = scratch.path;
  const where = machine();
  await using generator = new Generator();
  using stage = new Stage({ generator, root, say: (text) => console.log(`  … ${text}`) });
  for (const growth of wanted) {
    console.log(`\n${growth.name}`);
    const points: Curve["points"] = [];
    for (const count of options.far ? [...growth.counts, ...growth.far] : growth.counts) {
      const startedMs = performance.now();
      const point = await stage.within((directory) => growth.point(count, stage, directory));
      points.push(point);
      console.log(said(point, growth.of, (performance.now() - startedMs) / 1_000));
    }
    const curve = { name: growth.name, of: growth.of, points };
    // After each curve: what was measured is not lost when the next one is given up.
    if (options["write-docs"]) writeDocument({ growth: { machine: where, curves: [curve] } });
  }
}

const moreTold: Readonly<Record<string, (value: number) => string>> = {
  restartSeconds: (value) => `started again in ${number(value, 1)} s`,
  restartMicrosecondsEach: (value) => `with ${number(value, 2)} CPU µs each`,
  restartBytesEach: (value) => `${number(value, 0)} bytes each`,
  restartPeakBytes: (value) => `and ${number(value / 1_048_576, 0)} MB at the most`,
  clientMicroseconds: (value) => `${number(value, 0)} CPU µs for a client with 10 subscriptions`,
  clientBytes: (value) => `${number(value, 0)} bytes`,
};

function said(point: Curve["points"][number], of: string, seconds: number): string {
  const { count, microsecondsEach, bytesEach, messageMicroseconds, more = {} } = point;
  return [
    `${number(count, 0)} ${of}: ${number(microsecondsEach, 2)} CPU µs each`,
    `${number(bytesEach, 0)} bytes each`,
    `${number(messageMicroseconds, 2)} CPU µs for a message`,
    ...Object.entries(more).flatMap(([name, value]) => moreTold[name]?.(value) ?? []),
    `(${number(seconds, 0)} s)`,
  ].join(", ");
}

await runBenchmark(main);
