import { readFileSync } from "node:fs";

import { errorCode, errorText } from "@postern/core/errors";
import { LineCounter, isAlias, isMap, isNode, isScalar, isSeq, parseDocument, type Document } from "yaml";

import { ConfigError } from "./errors.ts";
import { configSchema, type GivenConfiguration } from "./schema.ts";
import { describeIssue, formatPath } from "./sentence.ts";

/** A configuration file is for people: one of this size is a mistake. */
const fileBytesMax = 1_048_576;

type Path = readonly (string | number)[];

/** A configuration file's content, and where its keys stand. */
export interface ConfigFile {
  /** As it was named. */
  readonly file: string;
  readonly given: GivenConfiguration;
  /** An error about what stands at `path`. */
  readonly errorAt: (path: Path, problem: string) => ConfigError;
}

/** An empty section (`limits:` with every line under it commented out) says nothing, as if it were not there. */
function withoutNulls(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(withoutNulls);
  if (typeof value !== "object" || value === null) return value;
  const entries = Object.entries(value).filter(([, item]) => item !== null);
  return Object.fromEntries(entries.map(([key, item]) => [key, withoutNulls(item)]));
}

/** The offset in the text of the key or the value at `path`, or of the nearest thing around it. */
function offsetOf(document: Document.Parsed, path: Path, atKey: boolean): number {
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

/**
 * Reads a configuration's text; `file` names it in messages.
 * @throws {ConfigError} for the first thing in it that is wrong.
 */
export function parseConfig(text: string, file: string): ConfigFile {
  const lines = new LineCounter();
  const document = parseDocument(text, { lineCounter: lines, uniqueKeys: true, stringKeys: true });
  const [syntax] = document.errors;
  if (syntax !== undefined) {
    const { line } = lines.linePos(syntax.pos[0]);
    throw new ConfigError(
      `not readable as YAML: ${firstSentence(syntax.message)}`,
      { file, line },
      { cause: syntax },
    );
  }
  const lineAt = (path: Path, atKey: boolean): number => lines.linePos(offsetOf(document, path, atKey)).line;

  let value: unknown;
  try {
    value = withoutNulls(document.toJS({ maxAliasCount: 100 }) ?? {});
  } catch (thrown) {
    throw new ConfigError(
      `not readable as YAML: ${firstSentence(errorText(thrown))}`,
      { file, line: 1 },
      { cause: thrown },
    );
  }
  const result = configSchema.safeParse(value);
  if (result.success) {
    return {
      file,
      given: result.data,
      errorAt: (path, problem) =>
        new ConfigError(problem, { file, line: lineAt(path, false), key: formatPath(path) }),
    };
  }
  // The first in the file is the one to mend first: it may be the cause of the others.
  const problems = result.error.issues.flatMap((issue) => describeIssue(issue, value));
  const [problem] = problems.sort((a, b) => lineAt(a.path, a.atKey) - lineAt(b.path, b.atKey));
  if (problem === undefined) throw new Error("zod refused without an issue", { cause: result.error });
  const { text: sentence, path, atKey, suggestion } = problem;
  throw new ConfigError(sentence, { file, line: lineAt(path, atKey), key: formatPath(path), suggestion });
}

const unreadable: Readonly<Record<string, string>> = {
  ENOENT: "there is no such file",
  EACCES: "permission denied",
  EISDIR: "it is a directory",
};

/**
 * Reads a configuration file; `path` is where it is, `file` how it was named.
 * @throws {ConfigError} when it cannot be read or is wrong.
 */
export function loadConfig(path: string, file: string): ConfigFile {
  let bytes: Buffer;
  try {
    bytes = readFileSync(path);
  } catch (thrown) {
    const cause = unreadable[errorCode(thrown) ?? ""] ?? errorText(thrown);
    throw new ConfigError(`cannot read the configuration: ${cause}`, { file }, { cause: thrown });
  }
  if (bytes.length > fileBytesMax) {
    throw new ConfigError(
      `the configuration has ${bytes.length} bytes; more than ${fileBytesMax} cannot be right`,
      { file },
    );
  }
  let text: string;
  try {
    text = new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch (thrown) {
    throw new ConfigError("the configuration is not UTF-8 text", { file }, { cause: thrown });
  }
  return parseConfig(text, file);
}
