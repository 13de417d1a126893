/**
 * Runs test files in the order given, which `node --test` would sort by name: `run-tests.ts --timeout-ms=N FILE…`; those that
 * `--alone=FILE` names come last, one at a time. Started by `test.ts`, in an environment of its own.
 */
import { availableParallelism } from "node:os";
import { Readable } from "node:stream";
import { run } from "node:test";
import type { TestEvent } from "node:test/reporters";
import { parseArgs } from "node:util";

import report from "./reporter.ts";

const { values: options, positionals } = parseArgs({
  options: { "timeout-ms": { type: "string" }, alone: { type: "string", multiple: true, default: [] } },
  allowPositionals: true,
});

/** One more than there are cores: a third of the time of a test of processes is waiting. */
const concurrency = Math.min(5, availableParallelism() + 1);
const alone = positionals.filter((path) => options.alone.includes(path));
const together = positionals.filter((path) => !alone.includes(path));

async function* events(): AsyncGenerator<TestEvent> {
  for (const [files, atOnce] of [
    [together, concurrency],
    [alone, 1],
  ] as const) {
    if (files.length === 0) continue;
    for await (const event of run({ files, concurrency: atOnce, timeout: Number(options["timeout-ms"]) })) {
      if (event.type === "test:summary" && !event.data.success) process.exitCode = 1;
      yield event;
    }
  }
}

Readable.from(events()).compose(report).pipe(process.stdout);
