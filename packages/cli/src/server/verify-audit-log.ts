import { createHash } from "node:crypto";
import { createReadStream, readdirSync } from "node:fs";
import { join } from "node:path";

import { auditFiles, beginning, currentAuditFile, oldFilesMax } from "./audit-files.ts";

/** Something in the audit log that is not as the server wrote it. */
export interface AuditProblem {
  readonly file: string;
  /** Counted from 1. */
  readonly line: number;
  readonly problem: string;
}

/** What became of an audit log. */
export interface AuditVerdict {
  /** Nothing shows that anything was changed, taken out or put in. */
  readonly intact: boolean;
  readonly problems: readonly AuditProblem[];
  /** What a crash or the limit of old files explains, in sentences. */
  readonly notes: readonly string[];
  readonly files: number;
  readonly lines: number;
  /** Times of the first and the last event. */
  readonly from: string | undefined;
  readonly until: string | undefined;
  /** SHA-256 of the last line: kept elsewhere, it shows later that nothing up to here was rewritten. */
  readonly head: string;
}

export interface VerifyOptions {
  /** A head of earlier: the line it belongs to must still be there. */
  readonly anchor?: string | undefined;
  /** The head that the running server had in memory a moment ago: the same goes for it. */
  readonly runningHead?: string | undefined;
}

/** More would be the same damage again. */
const problemsMax = 100;

interface Line {
  readonly time: string;
  readonly kind: string;
  readonly previous: string;
  readonly before: string | undefined;
}

function digest(line: Buffer): string {
  return createHash("sha256").update(line).digest("hex");
}

/** The fields of a whole line; `undefined` for what is none. */
function parseLine(text: Buffer): Line | undefined {
  let value: unknown;
  try {
    value = JSON.parse(text.toString("utf8"));
  } catch {
    return undefined;
  }
  if (typeof value !== "object" || value === null) return undefined;
  const field = (name: string): unknown => Reflect.get(value, name);
  const [time, kind, previous, before] = [field("time"), field("kind"), field("previous"), field("before")];
  if (typeof time !== "string" || typeof kind !== "string" || typeof previous !== "string") return undefined;
  return { time, kind, previous, before: typeof before === "string" ? before : undefined };
}

/** The lines of a file, as bytes: a line ends at a line feed and nowhere else, whatever characters clients put into it. */
async function* linesOf(path: string): AsyncGenerator<Buffer> {
  let rest: Buffer[] = [];
  for await (const value of createReadStream(path)) {
    const chunk = Buffer.from(value);
    let start = 0;
    for (let end = chunk.indexOf(0x0a); end >= 0; end = chunk.indexOf(0x0a, start)) {
      yield Buffer.concat([...rest, chunk.subarray(start, end)]);
      rest = [];
      start = end + 1;
    }
    rest.push(chunk.subarray(start));
  }
  const last = Buffer.concat(rest);
  if (last.length > 0) yield last;
}

/** Walks all files of an audit log from the oldest line to the newest. */
class Walk {
  readonly problems: AuditProblem[] = [];
  readonly notes: string[] = [];
  lines = 0;
  from: string | undefined = undefined;
  until: string | undefined = undefined;
  /** SHA-256 of the last line; `undefined` before the first. */
  head: string | undefined = undefined;
  /** Heads that were not found yet. */
  readonly missing: Set<string | undefined>;
  /** SHA-256 of the line before a line that was cut short. */
  #beforeTorn: string | undefined = undefined;
  #torn: { readonly file: string; readonly line: number } | undefined = undefined;
  #running = false;

  constructor(heads: readonly (string | undefined)[]) {
    this.missing = new Set(heads);
  }

  /** `oldest` says that lines before this one may have been removed because there were too many. */
  take(text: Buffer, at: { readonly file: string; readonly line: number }, mayBeginLate: boolean): void {
    const line = parseLine(text);
    this.lines += 1;
    if (line === undefined) this.#takeTorn(at);
    else this.#takeLine(line, at, mayBeginLate);
    this.head = digest(text);
    this.missing.delete(this.head);
  }

  end(): void {
    if (this.#torn !== undefined)
      this.notes.push(
        `${this.#torn.file}:${this.#torn.line} was cut short and is the last: a crash, or the end was cut off`,
      );
  }

  add(problem: AuditProblem): void {
    if (this.problems.length < problemsMax) this.problems.push(problem);
  }

  #takeTorn(at: { readonly file: string; readonly line: number }): void {
    if (this.#torn !== undefined) this.add({ ...this.#torn, problem: "is no line of an audit log" });
    this.#torn = at;
    this.#beforeTorn = this.head ?? beginning;
  }

  #takeLine(line: Line, at: { readonly file: string; readonly line: number }, mayBeginLate: boolean): void {
    this.from ??= line.time;
    this.until = line.time;
    this.#checkLink(line, at, mayBeginLate);
    if (line.kind === "started") {
      if (this.#running)
        this.notes.push(
          `${at.file}:${at.line}: the server started without having stopped: it crashed, or its last events were cut off`,
        );
      this.#running = true;
    } else if (line.kind === "stopped") this.#running = false;
    this.#torn = undefined;
  }

  #checkLink(line: Line, at: { readonly file: string; readonly line: number }, mayBeginLate: boolean): void {
    if (this.head === undefined) {
      if (line.previous === beginning) return;
      if (mayBeginLate)
        this.notes.push(`${at.file} is the oldest file that is kept; what came before was removed`);
      else this.add({ ...at, problem: "is not the first event, and those before it are missing" });
      return;
    }
    if (line.previous !== this.head) {
      this.add({
        ...at,
        problem:
          "does not follow the line before it: that one was changed, or lines between them were taken out or put in",
      });
      return;
    }
    if (this.#torn === undefined) return;
    if (line.before === this.#beforeTorn)
      this.notes.push(`${this.#torn.file}:${this.#torn.line} was cut short by a crash`);
    else
      this.add({ ...this.#torn, problem: "is no line of an audit log, or lines before it were taken out" });
  }
}

/**
 * Verifies the chain of an audit log's files. It shows every change by somebody who does not write the whole chain anew from there on;
 * an anchor from elsewhere, or the running server's own memory, shows that as well.
 */
export async function verifyAuditLog(
  directory: string,
  { anchor, runningHead }: VerifyOptions = {},
): Promise<AuditVerdict> {
  const files = auditFiles(readdirSync(directory));
  const walk = new Walk([anchor, runningHead].filter((head) => head !== undefined && head !== beginning));
  let lastLine = 0;
  for (const [index, file] of files.entries()) {
    let number = 0;
    for await (const line of linesOf(join(directory, file))) {
      number += 1;
      if (line.length > 0) walk.take(line, { file, line: number }, index === 0 && files.length > oldFilesMax);
    }
    lastLine = number;
  }
  walk.end();
  const last = { file: files.at(-1) ?? currentAuditFile, line: lastLine };
  if (anchor !== undefined && walk.missing.has(anchor))
    walk.add({
      ...last,
      problem:
        "is the end, and no event has the hash of the anchor: what it stood for was rewritten or cut off",
    });
  if (runningHead !== undefined && walk.missing.has(runningHead))
    walk.add({
      ...last,
      problem:
        "is the end, and the last event that the running server wrote is not there: it was rewritten or cut off",
    });
  const { problems, notes, lines, from, until, head = beginning } = walk;
  return { intact: problems.length === 0, problems, notes, files: files.length, lines, from, until, head };
}
