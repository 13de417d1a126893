import {
  mergeTarget,
  type SharedGroup,
  type Subscription,
  type Target,
  type TopicMatch,
} from "./subscription.ts";
import type { Session } from "./session.ts";

/** The subscriptions to one filter. */
interface Leaf {
  readonly plain: Set<Subscription>;
  groups: Map<string, SharedGroup> | undefined;
}

interface Node {
  children: Map<string, Node> | undefined;
  /** Subscriptions whose filter ends here. */
  leaf: Leaf | undefined;
}

const emptyMatch: TopicMatch = { targets: [], groups: [] };

/**
 * All subscriptions, found by topic name. Filters without wildcards stand in a flat map (one look-up whatever
 * their number); the others in a tree with one node a level, where `+` and `#` are children like any other.
 */
export class TopicTree {
  readonly #exact = new Map<string, Leaf>();
  readonly #root: Node = { children: undefined, leaf: undefined };
  #count = 0;
  /** Grows when a filter with wildcards comes or goes: earlier matches may be wrong. */
  wildcardVersion = 0;
  readonly #exactChanged: (topic: string) => void;

  /** `exactChanged` is told the topic whose match changed by a filter without wildcards. */
  constructor(exactChanged: (topic: string) => void) {
    this.#exactChanged = exactChanged;
  }

  get count(): number {
    return this.#count;
  }

  add(subscription: Subscription): void {
    const leaf = this.#leafFor(subscription.filter);
    this.#count += 1;
    this.#changed(subscription.filter);
    const { shareName } = subscription;
    if (shareName === undefined) {
      leaf.plain.add(subscription);
      return;
    }
    leaf.groups ??= new Map();
    const group = leaf.groups.get(shareName);
    if (group === undefined) leaf.groups.set(shareName, { members: [subscription], turn: 0 });
    else group.members.push(subscription);
  }

  remove(subscription: Subscription): void {
    const { filter, shareName } = subscription;
    const leaf = this.#find(filter);
    if (leaf === undefined) return;
    this.#count -= 1;
    this.#changed(filter);
    if (shareName === undefined) {
      leaf.plain.delete(subscription);
    } else {
      const group = leaf.groups?.get(shareName);
      const index = group?.members.indexOf(subscription) ?? -1;
      if (group !== undefined && index >= 0) group.members.splice(index, 1);
      if (group?.members.length === 0) leaf.groups?.delete(shareName);
    }
    if (leaf.plain.size === 0 && (leaf.groups?.size ?? 0) === 0) this.#prune(filter);
  }

  /** The members of one shared subscription, for handing over what a leaving member was to get. */
  sharedGroup(filter: string, shareName: string): SharedGroup | undefined {
    return this.#find(filter)?.groups?.get(shareName);
  }

  /** Everyone who is to get a message on this topic. */
  match(topic: string): TopicMatch {
    const leaves: Leaf[] = [];
    const exact = this.#exact.get(topic);
    if (exact !== undefined) leaves.push(exact);
    if (this.#root.children !== undefined) collect(this.#root, topic.split("/"), 0, leaves);
    if (leaves.length === 0) return emptyMatch;
    return { targets: targetsOf(leaves), groups: groupsOf(leaves) };
  }

  #changed(filter: string): void {
    if (hasWildcard(filter)) this.wildcardVersion += 1;
    else this.#exactChanged(filter);
  }

  #find(filter: string): Leaf | undefined {
    if (!hasWildcard(filter)) return this.#exact.get(filter);
    let node: Node | undefined = this.#root;
    for (const level of filter.split("/")) node = node?.children?.get(level);
    return node?.leaf;
  }

  #leafFor(filter: string): Leaf {
    const found = this.#find(filter);
    if (found !== undefined) return found;
    const leaf: Leaf = { plain: new Set(), groups: undefined };
    if (!hasWildcard(filter)) {
      this.#exact.set(filter, leaf);
      return leaf;
    }
    let node = this.#root;
    for (const level of filter.split("/")) {
      node.children ??= new Map();
      let child = node.children.get(level);
      if (child === undefined) {
        child = { children: undefined, leaf: undefined };
        node.children.set(level, child);
      }
      node = child;
    }
    node.leaf = leaf;
    return leaf;
  }

  /** Removes an empty leaf and the nodes that only led to it. */
  #prune(filter: string): void {
    if (!hasWildcard(filter)) {
      this.#exact.delete(filter);
      return;
    }
    const levels = filter.split("/");
    const path: Node[] = [this.#root];
    for (const level of levels) {
      const child = path.at(-1)?.children?.get(level);
      if (child === undefined) return;
      path.push(child);
    }
    const last = path.at(-1);
    if (last !== undefined) last.leaf = undefined;
    for (let depth = levels.length; depth > 0; depth -= 1) {
      const node = path[depth];
      const parent = path[depth - 1];
      if (node?.leaf !== undefined || node?.children !== undefined) return;
      const level = levels[depth - 1];
      if (parent?.children === undefined || level === undefined) return;
      parent.children.delete(level);
      if (parent.children.size === 0) parent.children = undefined;
    }
  }
}

function hasWildcard(filter: string): boolean {
  return filter.includes("+") || filter.includes("#");
}

/** Walks the tree along the topic's levels. @see MQTT 5.0 §4.7.1, §4.7.2 ($-topics are not matched by a leading wildcard) */
function collect(node: Node, levels: readonly string[], depth: number, leaves: Leaf[]): void {
  const children = node.children;
  if (children === undefined) {
    if (depth === levels.length && node.leaf !== undefined) leaves.push(node.leaf);
    return;
  }
  const wildcards = depth > 0 || levels[0]?.startsWith("$") !== true;
  const multi = wildcards ? children.get("#")?.leaf : undefined;
  if (multi !== undefined) leaves.push(multi);
  const level = levels[depth];
  if (level === undefined) {
    if (node.leaf !== undefined) leaves.push(node.leaf);
    return;
  }
  const same = children.get(level);
  if (same !== undefined) collect(same, levels, depth + 1, leaves);
  const single = wildcards ? children.get("+") : undefined;
  if (single !== undefined) collect(single, levels, depth + 1, leaves);
}

function targetsOf(leaves: readonly Leaf[]): Target[] {
  const first = leaves[0];
  if (leaves.length === 1 && first !== undefined)
    return Array.from(first.plain, (subscription) => mergeTarget(subscription.session, [subscription]));
  const bySession = new Map<Session, Subscription[]>();
  for (const leaf of leaves) {
    for (const subscription of leaf.plain) {
      const list = bySession.get(subscription.session);
      if (list === undefined) bySession.set(subscription.session, [subscription]);
      else list.push(subscription);
    }
  }
  return Array.from(bySession, ([session, subscriptions]) => mergeTarget(session, subscriptions));
}

function groupsOf(leaves: readonly Leaf[]): SharedGroup[] {
  return leaves.flatMap((leaf) => (leaf.groups === undefined ? [] : [...leaf.groups.values()]));
}
