import {
  LineCounter,
  isAlias,
  isMap,
  isNode,
  isScalar,
  isSeq,
  parseDocument,
  visit,
  type Document,
} from "yaml";
import type { z } from "zod";

import { errorText } from "./errors.ts";
import { describeIssue, formatPath, type Problem } from "./schema-sentence.ts";

/** A file that people write: one of this size is a mistake. */
const fileBytesMax = 1_048_576;

/** Keys and indexes from the root of the document. */
export type YamlPath = readonly (string | number)[];

/** What is wrong with a document, in words. */
export interface YamlProblem {
  /** Without file and line. */
  readonly text: string;
  /** Counted from 1; `undefined` when there is no line to name. */
  readonly line?: number | undefined;
  /** The key's full name, `listeners[0].url`; `undefined` when the text is no YAML at all. */
  readonly key?: string | undefined;
  /** The known key or value that was probably meant. */
  readonly suggestion?: string | undefined;
  readonly cause?: unknown;
}

export type YamlResult<T> =
  | {
      readonly kind: "value";
      readonly value: T;
      /** The line of the value at a path, or of the nearest thing around it. */
      readonly lineAt: (path: YamlPath) => number;
    }
  | { readonly kind: "problem"; readonly problem: YamlProblem };

/** How a kind of document is read. */
export interface YamlShape<T> {
  readonly schema: z.ZodType<T>;
  /** What messages call the whole: "the configuration". */
  readonly subject: string;
}

/** An empty section (`limits:` with every line under it commented out) says nothing, as if it were not there. */
function withoutNulls(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(withoutNulls);
  if (typeof value !== "object" || value === null) return value;
  const entries = Object.entries(value).filter(([, item]) => item !== null);
  return Object.fromEntries(entries.map(([key, item]) => [key, withoutNulls(item)]));
}

/** The offset in the text of the key or the value at `path`, or of the nearest thing around it. */
function offsetOf(document: Document.Parsed, path: YamlPath, atKey: boolean): number {
  let node: unknown = document.contents;
  let offset = 0;
  for (const [depth, part] of path.entries()) {
    if (isAlias(node)) node = node.resolve(document);
    if (isMap(node)) {
      const pair = node.items.find(({ key }) => isScalar(key) && key.value === part);
      if (pair === undefined) break;
      const last = depth === path.length - 1;
      if (isNode(pair.key)) offset = pair.key.range?.[0] ?? offset;
      if (isScalar(pair.value) && !(last && atKey)) offset = pair.value.range?.[0] ?? offset;
      node = pair.value;
    } else if (isSeq(node) && typeof part === "number") {
      node = node.items[part];
      if (isNode(node)) offset = node.range?.[0] ?? offset;
    } else {
      break;
    }
  }
  return offset;
}

/** yaml's message without its own "at line …" and the excerpt that follows. */
function firstSentence(message: string): string {
  return (message.split("\n")[0] ?? message).replace(/ at line \d+, column \d+:?$/, "");
}

function unreadable(line: number, cause: unknown): YamlResult<never> {
  return {
    kind: "problem",
    problem: { text: `not readable as YAML: ${firstSentence(errorText(cause))}`, line, cause },
  };
}

/** Where a key stands that objects of JavaScript have a meaning for: it would be passed over without a word. */
function reservedKey(document: Document.Parsed): number | undefined {
  let offset: number | undefined;
  visit(document, {
    Pair(_index, { key }) {
      if (isScalar(key) && key.value === "__proto__") offset ??= key.range?.[0] ?? 0;
    },
  });
  return offset;
}

/** A misspelt key is the cause of what is missing in the section it stands in, and of the key that was meant being missing. */
function explainsAway(other: Problem, { path, atKey }: Problem): boolean {
  if (atKey || !other.atKey) return false;
  const section = other.path.slice(0, -1);
  const isWithin = section.every((part, at) => path[at] === part);
  if (!isWithin || path.length > other.path.length) return false;
  return path.length < other.path.length || path.at(-1) === other.suggestion;
}

/** Reads a document's text by a strict schema; of several problems the first in the text is told. */
export function parseYaml<T>(text: string, { schema, subject }: YamlShape<T>): YamlResult<T> {
  const lines = new LineCounter();
  const document = parseDocument(text, { lineCounter: lines, uniqueKeys: true, stringKeys: true });
  const [syntax] = document.errors;
  if (syntax !== undefined) return unreadable(lines.linePos(syntax.pos[0]).line, syntax);
  const lineOf = (path: YamlPath, atKey: boolean): number =>
    lines.linePos(offsetOf(document, path, atKey)).line;

  const reserved = reservedKey(document);
  if (reserved !== undefined) {
    const { line } = lines.linePos(reserved);
    return { kind: "problem", problem: { text: "__proto__ cannot be the name of anything", line } };
  }

  let value: unknown;
  try {
    value = withoutNulls(document.toJS({ maxAliasCount: 100 }) ?? {});
  } catch (thrown) {
    return unreadable(1, thrown);
  }
  const result = schema.safeParse(value);
  if (result.success) return { kind: "value", value: result.data, lineAt: (path) => lineOf(path, false) };
  // The first in the file is the one to mend first: it may be the cause of the others.
  const all = result.error.issues.flatMap((issue) => describeIssue(issue, { value, schema, subject }));
  const [problem] = all
    .filter((problem) => !all.some((other) => explainsAway(other, problem)))
    .sort((a, b) => lineOf(a.path, a.atKey) - lineOf(b.path, b.atKey));
  if (problem === undefined) throw new Error("zod refused without an issue", { cause: result.error });
  const { text: sentence, path, atKey, suggestion } = problem;
  return {
    kind: "problem",
    problem: { text: sentence, line: lineOf(path, atKey), key: formatPath(path), suggestion },
  };
}

/** The text of a file's bytes, or what is wrong with them. */
export function decodeYamlText(
  bytes: Uint8Array,
  subject: string,
):
  | { readonly kind: "text"; readonly text: string }
  | { readonly kind: "problem"; readonly problem: YamlProblem } {
  if (bytes.length > fileBytesMax) {
    const text = `${subject} has ${bytes.length} bytes; more than ${fileBytesMax} cannot be right`;
    return { kind: "problem", problem: { text } };
  }
  try {
    return { kind: "text", text: new TextDecoder("utf-8", { fatal: true }).decode(bytes) };
  } catch (cause) {
    return { kind: "problem", problem: { text: `${subject} is not UTF-8 text`, cause } };
  }
}
