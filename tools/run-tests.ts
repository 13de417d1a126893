/**
 * Runs test files in the order given, which `node --test` would sort by name: `run-tests.ts --timeout-ms=N FILE…`; those that
 * `--alone=FILE` names come last, one at a time. Started by `test.ts`, in an environment of its own.
 */
import { availableParallelism } from "node:os";
import { Readable } from "node:stream";
import { run } from "node:test";
import type { TestEvent } from "node:test/reporters";
import { parseArgs } from "node:util";

import { inheritedMarker, leftBehind, send } from "./processes.ts";
import report from "./reporter.ts";

const { values: options, positionals } = parseArgs({
  options: { "timeout-ms": { type: "string" }, alone: { type: "string", multiple: true, default: [] } },
  allowPositionals: true,
});

const timeoutMs = Number(options["timeout-ms"]);

/** How long a file may take with all of its tests. The longest take a minute or two. */
const fileTimeoutMs = 2 * timeoutMs;

/** One more than there are cores: a third of the time of a test of processes is waiting. */
const concurrency = Math.min(5, availableParallelism() + 1);
const alone = positionals.filter((path) => options.alone.includes(path));
const together = positionals.filter((path) => !alone.includes(path));

/**
 * Ends a file that does not end by itself, so that the run goes on and says which it was: what a test that timed out had begun
 * keeps its process, and a busy process keeps no time.
 */
function endLate(file: string): void {
  console.error(`\n✖ ${file} has not ended within ${fileTimeoutMs / 1_000} s: its process is killed`);
  for (const { pid, command } of leftBehind(inheritedMarker())) {
    if (command.includes(file)) send(pid, "SIGKILL");
  }
}

const deadlines = new Map<string, NodeJS.Timeout>();

function watchTime({ type, data }: TestEvent): void {
  if (type === "test:dequeue" && data.file !== undefined && !deadlines.has(data.file)) {
    deadlines.set(data.file, setTimeout(endLate, fileTimeoutMs, data.file).unref());
  }
  if (type === "test:summary" && data.file !== undefined) clearTimeout(deadlines.get(data.file));
}

async function* events(): AsyncGenerator<TestEvent> {
  for (const [files, atOnce] of [
    [together, concurrency],
    [alone, 1],
  ] as const) {
    if (files.length === 0) continue;
    // Not `--test-force-exit`: it ends a file's process before all of its results were read.
    for await (const event of run({ files, concurrency: atOnce, timeout: timeoutMs })) {
      watchTime(event);
      if (event.type === "test:summary" && !event.data.success) process.exitCode = 1;
      yield event;
    }
  }
}

Readable.from(events()).compose(report).pipe(process.stdout);
