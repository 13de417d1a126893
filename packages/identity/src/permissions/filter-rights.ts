import { intersects, isNoTopic, isReserved } from "./filter-language.ts";
import type { RightsIndex } from "./rights-index.ts";
import type { RuleNode } from "./rule-tree.ts";
import type { BoundRule } from "./rules.ts";

/*
 * What `filter-language.ts` says of one filter and a list of rules, for all rights at once and by the trees of the rules: what a
 * SUBSCRIBE costs depends on the rules that are like its filter, not on how many others there are. The tests hold one to the other.
 */

/** Rules that fit the levels so far: as places in trees, and one by one where they are few. */
interface Fitting {
  readonly nodes: readonly RuleNode[];
  readonly rules: readonly BoundRule[];
}

/** The rights that rules give on every topic that `asked` matches, each by one rule or by several together. */
export function rightsOnAll(indices: readonly RightsIndex[], asked: readonly string[]): number {
  let fitting: Fitting = {
    nodes: indices.flatMap(({ root }) => root ?? []),
    rules: indices.flatMap(({ few }) => few),
  };
  let rights = 0;
  for (const [depth, level] of asked.entries()) {
    if (level === "#") return rights | onAnyRest(fitting, depth, isNoTopic(asked, depth));
    const reserved = isReserved(level, depth);
    if (!reserved) rights |= endingInHash(fitting, depth);
    fitting = next(fitting, depth, { any: !reserved, name: level === "+" ? undefined : level });
    if (isEmpty(fitting)) return rights;
  }
  return rights | endingAt(fitting, asked.length) | endingInHash(fitting, asked.length);
}

/** The rights that rules name for some topic that `asked` matches. */
export function rightsOnAny(indices: readonly RightsIndex[], asked: readonly string[]): number {
  let rights = 0;
  for (const { root, few } of indices) {
    for (const { rule, levels } of few)
      if ((rule.rights & ~rights) !== 0 && intersects(levels, asked)) rights |= rule.rights;
    if (root !== undefined) rights |= onSome({ node: root, isEmptyLevel: false }, asked, 0, rights);
  }
  return rights;
}

/** Those given on any number of levels from `start` on; with `fromOne` on at least one level more. */
function onAnyRest(from: Fitting, start: number, fromOne: boolean): number {
  let rights = 0;
  let possible = ~0;
  let fitting = from;
  for (let depth = start; possible !== 0 && !isEmpty(fitting); depth += 1) {
    rights |= possible & endingInHash(fitting, depth);
    if (!(fromOne && depth === start)) possible &= endingAt(fitting, depth);
    fitting = next(fitting, depth, { any: true, name: undefined });
  }
  return rights;
}

function next(
  { nodes, rules }: Fitting,
  depth: number,
  level: { readonly any: boolean; readonly name: string | undefined },
): Fitting {
  const reached: RuleNode[] = [];
  for (const { any, children } of nodes) {
    if (level.any && any !== undefined) reached.push(any);
    const child = level.name === undefined ? undefined : children?.get(level.name);
    if (child !== undefined) reached.push(child);
  }
  const left = rules.filter(({ levels }) =>
    levels[depth] === "+" ? level.any : level.name !== undefined && levels[depth] === level.name,
  );
  return { nodes: reached, rules: left };
}

function isEmpty({ nodes, rules }: Fitting): boolean {
  return nodes.length === 0 && rules.length === 0;
}

function endingAt({ nodes, rules }: Fitting, depth: number): number {
  let rights = 0;
  for (const { own } of nodes) rights |= own;
  for (const { levels, rule } of rules) if (levels.length === depth) rights |= rule.rights;
  return rights;
}

function endingInHash({ nodes, rules }: Fitting, depth: number): number {
  let rights = 0;
  for (const { below } of nodes) rights |= below;
  for (const { levels, rule } of rules) if (levels[depth] === "#") rights |= rule.rights;
  return rights;
}

/** Where a walk is; `isEmptyLevel`: at the first level, which is empty, and so no topic by itself. @see MQTT 5.0 [MQTT-4.7.3-1] */
interface Place {
  readonly node: RuleNode;
  readonly isEmptyLevel: boolean;
}

/** Those that rules from `place` on name for something that the rest of `asked` matches, beside `known`, which are found already. */
function onSome(
  { node, isEmptyLevel }: Place,
  asked: readonly string[],
  depth: number,
  known: number,
): number {
  const level = asked[depth];
  if (level === undefined) return known | node.own | (isEmptyLevel ? 0 : node.below);
  if (level === "#") return known | node.onward | (isNoTopic(asked, depth) ? 0 : node.own);
  const reserved = isReserved(level, depth);
  let rights = reserved ? known : known | node.below;
  const walk = (child: RuleNode, name: string): void => {
    // Most denials name the same few rights: what can add none is not looked at.
    if (((child.own | child.onward) & ~rights) === 0) return;
    rights = onSome({ node: child, isEmptyLevel: depth === 0 && name === "" }, asked, depth + 1, rights);
  };
  if (!reserved && node.any !== undefined) walk(node.any, "+");
  if (level === "+") {
    for (const [name, child] of node.children ?? []) if (!isReserved(name, depth)) walk(child, name);
    return rights;
  }
  const child = node.children?.get(level);
  if (child !== undefined) walk(child, level);
  return rights;
}
