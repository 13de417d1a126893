import { TopicRight } from "@postern/core/topic-right";

import { bind, levelsWithPlaceholders, type LevelPart, type PlaceholderValues } from "./placeholders.ts";
import type { GivenRule, Operation, RoleLimits } from "./schema.ts";

/** The topics and rights of one filter of one rule, as the file has it. */
export interface Rule {
  readonly role: string;
  /** Counted from 1. */
  readonly line: number;
  /** As written, with placeholders. */
  readonly filter: string;
  readonly parts: readonly (readonly LevelPart[])[];
  readonly effect: "allow" | "deny";
  /** Bits of `TopicRight`. */
  readonly rights: number;
  readonly hasPlaceholders: boolean;
  readonly perGroup: boolean;
}

/** A rule about one client. */
export interface BoundRule {
  readonly rule: Rule;
  readonly filter: string;
  readonly levels: readonly string[];
}

/** A rule about the session as a whole. */
export interface SessionRule {
  readonly role: string;
  readonly line: number;
  readonly effect: "allow" | "deny";
}

/** A role as compiled from the file. */
export interface Role {
  readonly name: string;
  /** Counted from 1. */
  readonly line: number;
  readonly limits: RoleLimits;
  /** Those that are the same for everybody. */
  readonly fixed: readonly BoundRule[];
  /** Those with placeholders. */
  readonly open: readonly Rule[];
  readonly persistentSession: readonly SessionRule[];
}

const rightOf: Readonly<Record<Operation, TopicRight | undefined>> = {
  publish: TopicRight.publish,
  subscribe: TopicRight.subscribe,
  will: TopicRight.will,
  retain: TopicRight.retain,
  shared: TopicRight.shared,
  persistentSession: undefined,
};

function rightsOf({ allow, deny, qos }: GivenRule): number {
  const levels = (qos ?? [0, 1, 2]).reduce<number>((mask, level) => mask | (1 << level), 0);
  return (allow ?? deny ?? []).reduce(
    (rights, operation) => rights | ((rightOf[operation] ?? 0) * levels),
    0,
  );
}

/** Compiles a role; `lineOf` says where the filter `index` of a rule stands, or the rule itself without one. */
export function compileRole(
  name: string,
  given: { readonly rules: readonly GivenRule[]; readonly limits: RoleLimits },
  where: { readonly line: number; readonly lineOf: (rule: number, index: number | undefined) => number },
): Role {
  const rules: Rule[] = [];
  const persistentSession: SessionRule[] = [];
  for (const [index, rule] of given.rules.entries()) {
    const effect = rule.allow === undefined ? "deny" : "allow";
    if ((rule.allow ?? rule.deny)?.includes("persistentSession") === true)
      persistentSession.push({ role: name, line: where.lineOf(index, undefined), effect });
    const rights = rightsOf(rule);
    if (rights === 0) continue;
    for (const [position, filter] of (rule.topics ?? []).entries()) {
      const parts = levelsWithPlaceholders(filter);
      if (typeof parts === "string") throw new TypeError(`the filter ${filter} was not checked: ${parts}`);
      const named = parts.flat().map(({ placeholder }) => placeholder);
      rules.push({
        role: name,
        line: where.lineOf(index, position),
        filter,
        parts,
        effect,
        rights,
        hasPlaceholders: named.some((placeholder) => placeholder !== undefined),
        perGroup: named.includes("group"),
      });
    }
  }
  return {
    name,
    line: where.line,
    limits: given.limits,
    fixed: rules
      .filter(({ hasPlaceholders }) => !hasPlaceholders)
      .map((rule) => bound(rule, rule.filter.split("/"))),
    open: rules.filter(({ hasPlaceholders }) => hasPlaceholders),
    persistentSession,
  };
}

function bound(rule: Rule, levels: readonly string[]): BoundRule {
  return { rule, filter: levels.join("/"), levels };
}

/**
 * The rule for one client, once for each group where it names `${group}`. What must not be bound grants nothing; a denial that
 * cannot be bound denies all that begins like it. `problem` is told why.
 */
export function bindRule(
  rule: Rule,
  values: Omit<PlaceholderValues, "group">,
  groups: readonly string[],
  problem: (text: string) => void,
): BoundRule[] {
  return (rule.perGroup ? groups : [undefined])
    .map((group): BoundRule | undefined => {
      const result = bind(rule.parts, { ...values, group });
      if (result.kind === "bound") return bound(rule, result.levels);
      const { placeholder, reason, level } = result;
      problem(`\${${placeholder}} ${reason}: ${rule.effect} ${rule.filter} (line ${rule.line})`);
      if (rule.effect === "allow") return undefined;
      const before = rule.parts.slice(0, level);
      const start = bind(before, { ...values, group });
      return bound(rule, [...(start.kind === "bound" ? start.levels : []), "#"]);
    })
    .filter((found) => found !== undefined);
}
