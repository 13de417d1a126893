import { matchesFilter } from "@postern/mqtt/topics";

import { rightsBelow, type RuleNode, ruleTreeOf } from "./rule-tree.ts";
import type { BoundRule } from "./rules.ts";

/** So few are faster looked at one by one, and hold no more memory. */
const few = 16;

/** All rights that some rules name for a topic: by a tree of levels, so that many rules cost no more than few. */
export class RightsIndex {
  readonly #rules: readonly BoundRule[];
  #root: RuleNode | undefined = undefined;

  constructor(rules: readonly BoundRule[]) {
    this.#rules = rules;
  }

  rightsOn(topic: string): number {
    const { root } = this;
    if (root !== undefined) return rightsBelow(root, topic.split("/"), 0);
    let rights = 0;
    for (const { filter, rule } of this.#rules)
      if ((rule.rights & ~rights) !== 0 && matchesFilter(filter, topic)) rights |= rule.rights;
    return rights;
  }

  /** The rules as a tree; `undefined` when they are few: `few` then has them. */
  get root(): RuleNode | undefined {
    if (this.#rules.length > few) this.#root ??= ruleTreeOf(this.#rules);
    return this.#root;
  }

  /** The rules, when there is no tree of them. */
  get few(): readonly BoundRule[] {
    return this.root === undefined ? this.#rules : [];
  }
}
