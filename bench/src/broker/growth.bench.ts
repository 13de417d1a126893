/** How cost grows with what the server holds. `npm run bench -- growth [--help]` */
import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";

import { endOnSignals } from "../support/signals.ts";
import { refuseDocumentOfPart, runBenchmark } from "../support/usage.ts";
import { growths } from "./growth.ts";
import { Generator } from "./load/generator.ts";
import { writeDocument } from "./report/document.ts";
import { machine } from "./report/machine.ts";
import type { Curve } from "./report/report.ts";
import { number, textTable } from "./report/table.ts";

const help = `Usage: npm run bench -- growth [OPTIONS]

  --only WORD            the curves that have this word in their name
  --far                  further: a million subscriptions and retained messages, ten million queued ones (an hour)
  --write-docs           writes docs/benchmarks.md anew, with these figures
`;

endOnSignals();
const { values: options } = parseArgs({
  options: {
    help: { type: "boolean", default: false },
    only: { type: "string", default: "" },
    far: { type: "boolean", default: false },
    "write-docs": { type: "boolean", default: false },
  },
});

async function main(): Promise<void> {
  refuseDocumentOfPart(options);
  const word = options.only.toLowerCase();
  const chosen = growths.filter(({ name }) => name.toLowerCase().includes(word));
  if (chosen.length === 0) {
    const names = growths.map(({ name }) => `  ${name}`).join("\n");
    throw new RangeError(`no curve has "${options.only}" in its name:\n${names}`);
  }
  const directory = mkdtempSync(join(tmpdir(), "postern-growth-"));
  const where = machine();
  const curves: Curve[] = [];
  try {
    await using generator = new Generator();
    for (const growth of chosen) {
      console.log(`\n${growth.name}`);
      const points: Curve["points"] = [];
      for (const count of options.far ? [...growth.counts, ...growth.far] : growth.counts) {
        const own = join(directory, `${curves.length}-${count}`);
        mkdirSync(own);
        const point = await growth.point(count, { directory: own, generator });
        rmSync(own, { recursive: true, force: true });
        points.push(point);
        console.log(
          textTable([row(point)], points.length === 1 ? headings(growth.of) : ["", "", "", ""]).trim(),
        );
      }
      curves.push({ name: growth.name, of: growth.of, points });
    }
    if (options["write-docs"]) writeDocument({ growth: { machine: where, curves } });
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}

function headings(of: string): string[] {
  return [of.padEnd(18), "CPU µs each", "bytes each", "CPU µs for a message"];
}

function row({ count, microsecondsEach, bytesEach, messageMicroseconds }: Curve["points"][number]): string[] {
  return [
    number(count, 0).padEnd(18),
    number(microsecondsEach, 2).padEnd(11),
    number(bytesEach, 0).padStart(10),
    number(messageMicroseconds, 2).padStart(20),
  ];
}

if (options.help) console.log(help);
else await runBenchmark(main);
