import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { dirname, resolve } from "node:path";

import { errorCode, errorText } from "@postern/core/errors";
import { decodeYamlText } from "@postern/core/yaml-document";

import { PermissionsError } from "../errors.ts";
import { fileError, readSecretIfThere } from "../files.ts";
import type { PayloadDemand } from "../payloads/demand.ts";
import { parseGroupKeys, parseMacKeys } from "../payloads/group-keys-file.ts";
import { parsePolicy, type Policy } from "./policy.ts";

/** What a permissions file says; with `missing` and `empty` nobody may do anything. */
export interface ReadPolicy {
  readonly state: "good" | "missing" | "empty";
  readonly policy: Policy;
  readonly text: string;
  /** Files with keys that it names, as absolute paths, and a digest of all that they hold. */
  readonly keyFiles: readonly string[];
  readonly keysDigest: string;
}

/**
 * Reads a permissions file; `file` is how it is named in messages.
 * @throws {PermissionsError} for the first thing in it that is wrong, {@link DataDirectoryError} when it cannot be read.
 */
export function readPolicyFile(path: string, file: string): ReadPolicy {
  let bytes: Buffer = Buffer.alloc(0);
  let missing = false;
  try {
    bytes = readFileSync(path);
  } catch (thrown) {
    if (errorCode(thrown) !== "ENOENT") throw fileError(`read ${file}`, thrown);
    missing = true;
  }
  const decoded = decodeYamlText(bytes, "the permissions file");
  if (decoded.kind === "problem") throw new PermissionsError(file, decoded.problem);
  const { text } = decoded;
  const parsed = parsePolicy(text);
  if (parsed.kind === "problem") throw new PermissionsError(file, parsed.problem);
  const keys = new KeyFiles(dirname(path), file);
  const payloads = parsed.policy.payloads.map((demand) => keys.complete(demand));
  const policy = { ...parsed.policy, payloads };
  const state = missing ? "missing" : policy.roles.size === 0 ? "empty" : "good";
  return { state, policy, text, keyFiles: keys.paths, keysDigest: keys.digest };
}

/** The files with keys that a permissions file names. */
class KeyFiles {
  readonly #directory: string;
  readonly #file: string;
  readonly #hash = createHash("sha256");
  readonly paths: string[] = [];

  /** @param file How the permissions file is named in messages. */
  constructor(directory: string, file: string) {
    this.#directory = directory;
    this.#file = file;
  }

  get digest(): string {
    return this.#hash.copy().digest("hex");
  }

  /** The demand with the keys of its files. @throws {PermissionsError} */
  complete(demand: PayloadDemand): PayloadDemand {
    const { macKeysFile, groupKeysFile, filters } = demand;
    if (macKeysFile === undefined && groupKeysFile === undefined) return demand;
    const line = filters[0]?.line;
    return {
      ...demand,
      macKeys: this.#load(macKeysFile, { use: "macKeys", parse: parseMacKeys, line }),
      groupKeys: this.#load(groupKeysFile, { use: "groupKeys", parse: parseGroupKeys, line }),
    };
  }

  #load<Keys>(
    file: string | undefined,
    {
      use,
      parse,
      line,
    }: {
      readonly use: string;
      readonly parse: (text: string) => Keys | string;
      readonly line: number | undefined;
    },
  ): Keys | undefined {
    if (file === undefined) return undefined;
    const path = resolve(this.#directory, file);
    const sentence = (problem: string): string => `cannot use ${file}, which ${use} names: ${problem}`;
    const text = this.#read(path, sentence, line);
    const keys = parse(text);
    if (typeof keys === "string") throw this.#error(sentence(keys), line);
    this.paths.push(path);
    this.#hash.update(`${text.length}\n${text}`);
    return keys;
  }

  #read(path: string, sentence: (problem: string) => string, line: number | undefined): string {
    let text: string | undefined;
    try {
      text = readSecretIfThere(path);
    } catch (thrown) {
      throw this.#error(sentence(errorText(thrown)), line, thrown);
    }
    if (text === undefined) throw this.#error(sentence("there is no such file"), line);
    return text;
  }

  #error(text: string, line: number | undefined, cause?: unknown): PermissionsError {
    return new PermissionsError(this.#file, { text, line, key: "payloads", cause });
  }
}
