/**
 * Runs test files in the order given, which `node --test` would sort by name: `run-tests.ts --timeout-ms=N FILE…`.
 * Started by `test.ts`, in an environment of its own.
 */
import { availableParallelism } from "node:os";
import { run } from "node:test";
import { parseArgs } from "node:util";

import report from "./reporter.ts";

const { values: options, positionals: files } = parseArgs({
  options: { "timeout-ms": { type: "string" } },
  allowPositionals: true,
});

const events = run({
  files,
  // One more than there are cores: a third of the time of a test of processes is waiting.
  concurrency: Math.min(5, availableParallelism() + 1),
  timeout: Number(options["timeout-ms"]),
});
events.on("test:summary", ({ success }) => {
  if (!success) process.exitCode = 1;
});
events.compose(report).pipe(process.stdout);
