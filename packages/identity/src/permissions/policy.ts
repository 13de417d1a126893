import { parseYaml, type YamlProblem } from "@postern/core/yaml-document";

import { compileDemand, type PayloadDemand } from "../payloads/demand.ts";
import { compileRole, type Role } from "./rules.ts";
import { permissionsSchema } from "./schema.ts";

/** A permissions file, ready to be asked. */
export interface Policy {
  readonly roles: ReadonlyMap<string, Role>;
  readonly refusedPublish: "drop" | "disconnect";
  readonly checksResponseTopics: boolean;
  readonly purgeRetainedAfterMs: number;
  /** In the order of the file: the first that matches counts. */
  readonly payloads: readonly PayloadDemand[];
}

export type ParsedPolicy =
  | { readonly kind: "policy"; readonly policy: Policy }
  | { readonly kind: "problem"; readonly problem: YamlProblem };

/** What holds without a file: nobody may do anything. */
export const denyAll: Policy = {
  roles: new Map(),
  refusedPublish: "drop",
  checksResponseTopics: true,
  // Nothing is thrown away because a file is missing.
  purgeRetainedAfterMs: Infinity,
  payloads: [],
};

/** Reads and compiles the text of a permissions file. An empty one is a policy without roles. */
export function parsePolicy(text: string): ParsedPolicy {
  const result = parseYaml(text, { schema: permissionsSchema, subject: "the permissions file" });
  if (result.kind === "problem") return result;
  const { value, lineAt } = result;
  const roles = new Map<string, Role>();
  for (const [name, { rules = [], limits = {} }] of Object.entries(value.roles ?? {})) {
    const path = ["roles", name];
    const lineOf = (rule: number, index: number | undefined): number =>
      lineAt([...path, "rules", rule, ...(index === undefined ? [] : ["topics", index])]);
    roles.set(name, compileRole(name, { rules, limits }, { line: lineAt(path), lineOf }));
  }
  if (roles.size === 0) return { kind: "policy", policy: denyAll };
  return {
    kind: "policy",
    policy: {
      roles,
      refusedPublish: value.refusedPublish ?? "drop",
      checksResponseTopics: (value.responseTopics ?? "checked") === "checked",
      payloads: (value.payloads ?? []).map((given, index) =>
        compileDemand(given, (position) => lineAt(["payloads", index, "topics", position])),
      ),
      purgeRetainedAfterMs: (value.purgeRetainedAfterMinutes ?? 60) * 60_000,
    },
  };
}
