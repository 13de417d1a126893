import { readFileSync } from "node:fs";

import { errorCode } from "@postern/core/errors";
import { decodeYamlText } from "@postern/core/yaml-document";

import { PermissionsError } from "../errors.ts";
import { fileError } from "../files.ts";
import { parsePolicy, type Policy } from "./policy.ts";

/** What a permissions file says; with `missing` and `empty` nobody may do anything. */
export interface ReadPolicy {
  readonly state: "good" | "missing" | "empty";
  readonly policy: Policy;
  readonly text: string;
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
  const { policy } = parsed;
  if (missing) return { state: "missing", policy, text };
  return { state: policy.roles.size === 0 ? "empty" : "good", policy, text };
}
