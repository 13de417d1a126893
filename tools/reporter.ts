import { relative } from "node:path";
import { spec, type TestEvent } from "node:test/reporters";

import { inheritedMarker, leftBehind } from "./processes.ts";
import { root } from "./repository.ts";

type Omitted = { readonly label: "skipped" | "todo"; readonly where: string; readonly reason: string };

type FileTime = { readonly file: string; readonly durationMs: number };

/** Of how many files the time is shown, the slowest first. */
const slowestCount = 15;

/**
 * The runner's own report in this order: the tests, the details of those that failed, everything that was left out
 * with its reason, processes that tests left behind, the files that took longest, the runner's closing lines.
 */
export default async function* report(events: AsyncIterable<TestEvent>): AsyncGenerator<string | Buffer> {
  const inner = new spec();
  const omitted: Omitted[] = [];
  const closing = new Map<string, number>();
  const times: FileTime[] = [];

  const fed = (async () => {
    for await (const event of events) {
      const total = event.type === "test:diagnostic" ? totalIn(event.data) : undefined;
      if (total !== undefined) {
        closing.set(total.name, (closing.get(total.name) ?? 0) + total.number);
        continue;
      }
      if (event.type === "test:pass" || event.type === "test:fail") omitted.push(...leftOut(event.data));
      if (event.type === "test:summary" && event.data.file !== undefined)
        times.push({ file: event.data.file, durationMs: event.data.duration_ms });
      inner.write(event);
    }
    inner.end();
  })();
  for await (const chunk of inner) yield chunk;
  await fed;

  if (omitted.length > 0) yield `\n${omittedLines(omitted)}\n`;
  const survivors = leftBehind(inheritedMarker());
  if (survivors.length > 0) yield `\n${survivorLines(survivors)}\n`;
  if (times.length > 1) yield `\n${slowestLines(times)}\n`;
  yield "\n";
  for (const [name, number] of closing) yield `ℹ ${name} ${number}\n`;
}

function leftOut({ file, name, skip, todo }: ResultData): Omitted[] {
  const label = skip === undefined || skip === false ? "todo" : "skipped";
  const given = label === "todo" ? todo : skip;
  if (given === undefined || given === false) return [];
  const where = `${file === undefined ? "" : `${relative(root, file)}: `}${name}`;
  return [{ label, where, reason: typeof given === "string" && given !== "" ? given : "no reason given" }];
}

/** A closing line of one of the runs that this one is made of. What a test says of itself has a file. */
function totalIn({ file, message }: DiagnosticData): { name: string; number: number } | undefined {
  const [, name, number] = /^(\w+) ([\d.]+)$/.exec(message) ?? [];
  return file !== undefined || name === undefined ? undefined : { name, number: Number(number) };
}

type DiagnosticData = Extract<TestEvent, { type: "test:diagnostic" }>["data"];

type ResultData = Extract<TestEvent, { type: "test:pass" | "test:fail" }>["data"];

/** One line for each reason, and below it the tests and suites it concerns. */
function omittedLines(omitted: readonly Omitted[]): string {
  const byReason = Map.groupBy(omitted, ({ label, reason }) => `${label}: ${reason}`);
  const lines = [
    `﹣ ${omitted.length} left out, for ${byReason.size === 1 ? "one reason" : `${byReason.size} reasons`}`,
  ];
  for (const [reason, concerned] of byReason) {
    lines.push(`  ${concerned.length} ${reason}`, ...concerned.map(({ where }) => `      ${where}`));
  }
  return lines.join("\n");
}

function survivorLines(survivors: ReturnType<typeof leftBehind>): string {
  const lines = survivors.map(({ pid, command }) => `  ${pid} ${command}`);
  return ["✖ processes that a test left behind", ...lines].join("\n");
}

function slowestLines(times: readonly FileTime[]): string {
  const slowest = times.toSorted((one, other) => other.durationMs - one.durationMs).slice(0, slowestCount);
  const lines = slowest.map(
    ({ file, durationMs }) => `${(durationMs / 1_000).toFixed(1).padStart(8)} s  ${relative(root, file)}`,
  );
  return [`ℹ the ${slowest.length} files that took longest`, ...lines].join("\n");
}
