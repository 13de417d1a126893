import { readFileSync } from "node:fs";

import { errorCode, errorText } from "@postern/core/errors";
import { formatPath } from "@postern/core/schema-sentence";
import { decodeYamlText, parseYaml, type YamlPath, type YamlProblem } from "@postern/core/yaml-document";

import { ConfigError } from "./errors.ts";
import { configSchema, type GivenConfiguration } from "./schema.ts";

const subject = "the configuration";

/** A configuration file's content, and where its keys stand. */
export interface ConfigFile {
  /** As it was named. */
  readonly file: string;
  readonly given: GivenConfiguration;
  /** An error about what stands at `path`. */
  readonly errorAt: (path: YamlPath, problem: string) => ConfigError;
}

function configError(file: string, { text, line, key, suggestion, cause }: YamlProblem): ConfigError {
  return new ConfigError(text, { file, line, key, suggestion }, { cause });
}

/**
 * Reads a configuration's text; `file` names it in messages.
 * @throws {ConfigError} for the first thing in it that is wrong.
 */
export function parseConfig(text: string, file: string): ConfigFile {
  const result = parseYaml(text, { schema: configSchema, subject });
  if (result.kind === "problem") throw configError(file, result.problem);
  const { value, lineAt } = result;
  return {
    file,
    given: value,
    errorAt: (path, problem) => new ConfigError(problem, { file, line: lineAt(path), key: formatPath(path) }),
  };
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
    throw new ConfigError(`cannot read ${subject}: ${cause}`, { file }, { cause: thrown });
  }
  const decoded = decodeYamlText(bytes, subject);
  if (decoded.kind === "problem") throw configError(file, decoded.problem);
  return parseConfig(decoded.text, file);
}
