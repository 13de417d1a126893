import { matchesFilter } from "@postern/mqtt/topics";

import type { BoundRule } from "./rules.ts";

/** So few are faster looked at one by one, and hold no more memory. */
const few = 16;

interface Node {
  children: Map<string, Node> | undefined;
  /** Below `+`. */
  any: Node | undefined;
  /** Of the filters that end here, and of those that end with `#` here. */
  own: number;
  below: number;
}

/** All rights that some rules name for a topic: by a tree of levels, so that many rules cost no more than few. */
export class RightsIndex {
  readonly #rules: readonly BoundRule[];
  #root: Node | undefined = undefined;

  constructor(rules: readonly BoundRule[]) {
    this.#rules = rules;
  }

  rightsOn(topic: string): number {
    if (this.#rules.length <= few) {
      let rights = 0;
      for (const { filter, rule } of this.#rules)
        if ((rule.rights & ~rights) !== 0 && matchesFilter(filter, topic)) rights |= rule.rights;
      return rights;
    }
    this.#root ??= treeOf(this.#rules);
    return collect(this.#root, topic.split("/"), 0);
  }
}

function treeOf(rules: readonly BoundRule[]): Node {
  const root = newNode();
  for (const { levels, rule } of rules) {
    let node = root;
    for (const level of levels) {
      if (level === "#") break;
      node = level === "+" ? (node.any ??= newNode()) : childOf(node, level);
    }
    if (levels.at(-1) === "#") node.below |= rule.rights;
    else node.own |= rule.rights;
  }
  return root;
}

function childOf(node: Node, level: string): Node {
  node.children ??= new Map();
  let child = node.children.get(level);
  if (child === undefined) {
    child = newNode();
    node.children.set(level, child);
  }
  return child;
}

function newNode(): Node {
  return { children: undefined, any: undefined, own: 0, below: 0 };
}

/** @see MQTT 5.0 §4.7.1.2, §4.7.2: `a/#` matches `a`, and a leading wildcard no topic that begins with `$` */
function collect(node: Node, levels: readonly string[], depth: number): number {
  const level = levels[depth];
  const wild = depth > 0 || level?.startsWith("$") !== true;
  const rights = wild ? node.below : 0;
  if (level === undefined) return rights | node.own;
  const child = node.children?.get(level);
  return (
    rights |
    (child === undefined ? 0 : collect(child, levels, depth + 1)) |
    (wild && node.any !== undefined ? collect(node.any, levels, depth + 1) : 0)
  );
}
