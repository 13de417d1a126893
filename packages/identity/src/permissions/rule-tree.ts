import type { BoundRule } from "./rules.ts";

/** Rules by the levels of their filters, and what rights they name. */
export interface RuleNode {
  children: Map<string, RuleNode> | undefined;
  /** Below `+`. */
  any: RuleNode | undefined;
  /** Of the filters that end here, and of those that end with `#` here. */
  own: number;
  below: number;
  /** Of all filters that go on from here, `#` among them. At the root without those of topics that begin with `$`. */
  onward: number;
}

export function ruleTreeOf(rules: readonly BoundRule[]): RuleNode {
  const root = newNode();
  for (const { levels, rule } of rules) {
    let node = root;
    const reserved = levels[0]?.startsWith("$") === true;
    for (const level of levels) {
      if (node !== root || !reserved) node.onward |= rule.rights;
      if (level === "#") break;
      node = level === "+" ? (node.any ??= newNode()) : childOf(node, level);
    }
    if (levels.at(-1) === "#") node.below |= rule.rights;
    else node.own |= rule.rights;
  }
  return root;
}

function childOf(node: RuleNode, level: string): RuleNode {
  node.children ??= new Map();
  let child = node.children.get(level);
  if (child === undefined) {
    child = newNode();
    node.children.set(level, child);
  }
  return child;
}

function newNode(): RuleNode {
  return { children: undefined, any: undefined, own: 0, below: 0, onward: 0 };
}

/**
 * The rights on a topic, from `depth` on.
 * @see MQTT 5.0 §4.7.1.2, §4.7.2: `a/#` matches `a`, and a leading wildcard no topic that begins with `$`
 */
export function rightsBelow(node: RuleNode, levels: readonly string[], depth: number): number {
  const level = levels[depth];
  const wild = depth > 0 || level?.startsWith("$") !== true;
  const rights = wild ? node.below : 0;
  if (level === undefined) return rights | node.own;
  const child = node.children?.get(level);
  return (
    rights |
    (child === undefined ? 0 : rightsBelow(child, levels, depth + 1)) |
    (wild && node.any !== undefined ? rightsBelow(node.any, levels, depth + 1) : 0)
  );
}
