import type { Message } from "./message.ts";

/** A level of a topic in the tree of retained messages. */
export interface RetainedNode {
  children: Map<string, RetainedNode> | undefined;
  message: Message | undefined;
  /** Counts up with every topic that gets a message and had none: which one this was. */
  since: number;
}

/** Children that are still to be looked at. */
interface Rest {
  readonly children: Iterator<[string, RetainedNode]>;
  /** The level of the filter that comes after theirs; `undefined` below `#`, where everything matches. */
  readonly depth: number | undefined;
  /** A leading wildcard does not match topics that begin with `$`. @see MQTT 5.0 §4.7.2 */
  readonly skipsReserved: boolean;
}

/**
 * Goes through the retained messages that a filter matches, place by place, while messages come and go: nobody has to wait until a
 * million of them are found. Topics that had no message when it began are left out.
 */
export class RetainedWalk {
  readonly #root: RetainedNode;
  /** `undefined` for everything, topics that begin with `$` among it. */
  readonly #levels: readonly string[] | undefined;
  readonly #newest: number;
  readonly #rests: Rest[] = [];
  #begun = false;

  /** `newest` is the `since` of the last topic to be told. */
  constructor(root: RetainedNode, filter: string | undefined, newest: number) {
    this.#root = root;
    this.#levels = filter?.split("/");
    this.#newest = newest;
  }

  get isDone(): boolean {
    return this.#begun && this.#rests.length === 0;
  }

  /** Goes to the next place. Its message; `undefined` where there is none, also at the end. */
  next(): Message | undefined {
    if (!this.#begun) {
      this.#begun = true;
      return this.#levels === undefined ? this.#push(this.#root, undefined) : this.#enter(this.#root, 0);
    }
    const rest = this.#rests.at(-1);
    const step = rest?.children.next();
    if (rest === undefined || step === undefined || step.done === true) {
      this.#rests.pop();
      return undefined;
    }
    const [name, node] = step.value;
    if (rest.skipsReserved && name.startsWith("$")) return undefined;
    if (rest.depth !== undefined) return this.#enter(node, rest.depth);
    this.#push(node, undefined);
    return this.#messageOf(node);
  }

  /** Follows the filter's levels from `depth` on, up to a wildcard. @see MQTT 5.0 §4.7.1 */
  #enter(from: RetainedNode, depth: number): Message | undefined {
    let node: RetainedNode | undefined = from;
    for (let at = depth; node !== undefined; at += 1) {
      const level = this.#levels?.[at];
      if (level === undefined) return this.#messageOf(node);
      if (level === "+") return this.#push(node, at + 1);
      if (level === "#") {
        this.#push(node, undefined);
        // `sport/#` also matches `sport` itself.
        return at > 0 ? this.#messageOf(node) : undefined;
      }
      node = node.children?.get(level);
    }
    return undefined;
  }

  #push(node: RetainedNode, depth: number | undefined): undefined {
    if (node.children === undefined) return;
    this.#rests.push({
      children: node.children.entries(),
      depth,
      skipsReserved: node === this.#root && this.#levels !== undefined,
    });
  }

  #messageOf(node: RetainedNode): Message | undefined {
    return node.since <= this.#newest ? node.message : undefined;
  }
}
