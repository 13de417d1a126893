import type { SessionStore, StoredMessage } from "@postern/core/session-store";

import type { Limits } from "./limits.ts";
import { Message } from "./message.ts";

interface Amount {
  count: number;
  bytes: number;
}

/** What one publisher may have retained at most. */
export interface RetainedQuota {
  readonly retainedMessagesMax: number | undefined;
  readonly retainedBytesMax: number | undefined;
}

interface Node {
  children: Map<string, Node> | undefined;
  message: Message | undefined;
}

/** What became of a retained message: `over-limit` leaves everything as it was. */
export type RetainResult = "kept" | "cleared" | "over-limit";

/** The retained messages by topic: a tree of levels, so that a filter with wildcards visits only what can match. */
export class Retained {
  readonly #store: SessionStore;
  readonly #limits: Limits;
  readonly #root: Node = { children: undefined, message: undefined };
  #count = 0;
  #bytes = 0;
  readonly #byPublisher = new Map<string, Amount>();

  constructor(store: SessionStore, limits: Limits) {
    this.#store = store;
    this.#limits = limits;
  }

  get count(): number {
    return this.#count;
  }

  get bytes(): number {
    return this.#bytes;
  }

  load(messages: Iterable<StoredMessage>): void {
    for (const stored of messages) {
      const message = Message.load(stored);
      this.#keep(grow(this.#root, message.topic.split("/")), message);
    }
  }

  /**
   * Keeps the message as the topic's retained one; one without payload clears it. `durable` false keeps it in
   * memory only (the broker's own `$SYS` topics). @see MQTT 5.0 §3.3.1.3
   */
  put(message: Message, durable: boolean, quota?: RetainedQuota): RetainResult {
    if (message.payload.length === 0) {
      if (this.#clear(message.topic) && durable) this.#store.deleteRetained(message.topic);
      return "cleared";
    }
    const levels = message.topic.split("/");
    const node = walk(this.#root, levels);
    const old = node?.message;
    if (durable && (this.#exceeds(message, old) || this.#exceedsQuota(message, old, quota)))
      return "over-limit";
    message.settle();
    this.#keep(node ?? grow(this.#root, levels), message);
    if (durable) this.#store.putRetained(message);
    return "kept";
  }

  /** Whether anything of this publisher is retained. */
  has(publisher: string): boolean {
    return this.#byPublisher.has(publisher);
  }

  get(topic: string): Message | undefined {
    return walk(this.#root, topic.split("/"))?.message;
  }

  /** The topics with a retained message that the filter matches. */
  match(filter: string): string[] {
    const found: string[] = [];
    collect(this.#root, filter.split("/"), 0, found);
    return found;
  }

  /** Forgets the messages that have expired, and those that `isDue` names, also on disk. */
  sweep(nowMs: number, isDue: (message: Message) => boolean): void {
    const ended: string[] = [];
    gather(this.#root, (message) => {
      if (message.hasExpired(nowMs) || isDue(message)) ended.push(message.topic);
    });
    for (const topic of ended) {
      this.#clear(topic);
      this.#store.deleteRetained(topic);
    }
  }

  #exceeds(message: Message, old: Message | undefined): boolean {
    const count = this.#count + (old === undefined ? 1 : 0);
    const bytes = this.#bytes - (old?.bytes ?? 0) + message.bytes;
    return count > this.#limits.retainedMessagesMax || bytes > this.#limits.retainedBytesMax;
  }

  #exceedsQuota(
    message: Message,
    old: Message | undefined,
    { retainedMessagesMax = Infinity, retainedBytesMax = Infinity }: Partial<RetainedQuota> = {},
  ): boolean {
    if (retainedMessagesMax === Infinity && retainedBytesMax === Infinity) return false;
    const { count = 0, bytes = 0 } = this.#byPublisher.get(message.publisher) ?? {};
    // What takes the place of another publisher's message counts in full.
    const own = old?.publisher === message.publisher ? old : undefined;
    const countAfter = count + (own === undefined ? 1 : 0);
    const bytesAfter = bytes - (own?.bytes ?? 0) + message.bytes;
    return countAfter > retainedMessagesMax || bytesAfter > retainedBytesMax;
  }

  #keep(node: Node, message: Message): void {
    if (node.message !== undefined) this.#account(node.message, -1);
    node.message = message;
    this.#account(message, 1);
  }

  /** The broker's own messages do not count: they are few, and nobody's to fill a limit with. */
  #account(message: Message, sign: 1 | -1): void {
    if (message.topic.startsWith("$SYS/")) return;
    this.#count += sign;
    this.#bytes += sign * message.bytes;
    const amount = this.#byPublisher.get(message.publisher) ?? { count: 0, bytes: 0 };
    amount.count += sign;
    amount.bytes += sign * message.bytes;
    if (amount.count === 0) this.#byPublisher.delete(message.publisher);
    else this.#byPublisher.set(message.publisher, amount);
  }

  #clear(topic: string): boolean {
    const path: { readonly node: Node; readonly level: string }[] = [];
    let node: Node = this.#root;
    for (const level of topic.split("/")) {
      const child: Node | undefined = node.children?.get(level);
      if (child === undefined) return false;
      path.push({ node, level });
      node = child;
    }
    if (node.message === undefined) return false;
    this.#account(node.message, -1);
    node.message = undefined;
    for (const { node: parent, level } of path.toReversed()) {
      const child = parent.children?.get(level);
      if (child === undefined || child.message !== undefined || child.children !== undefined) break;
      parent.children?.delete(level);
      if (parent.children?.size === 0) parent.children = undefined;
    }
    return true;
  }
}

/** The topic's node, where there is one. */
function walk(root: Node, levels: readonly string[]): Node | undefined {
  let node: Node | undefined = root;
  for (const level of levels) {
    node = node.children?.get(level);
    if (node === undefined) return undefined;
  }
  return node;
}

/** The topic's node, made where there is none. */
function grow(root: Node, levels: readonly string[]): Node {
  let node = root;
  for (const level of levels) {
    node.children ??= new Map();
    let child = node.children.get(level);
    if (child === undefined) {
      child = { children: undefined, message: undefined };
      node.children.set(level, child);
    }
    node = child;
  }
  return node;
}

/** @see MQTT 5.0 §4.7.1, §4.7.2: a leading wildcard does not match topics that begin with `$`. */
function collect(node: Node, levels: readonly string[], depth: number, found: string[]): void {
  const level = levels[depth];
  if (level === undefined) {
    if (node.message !== undefined) found.push(node.message.topic);
    return;
  }
  if (level === "#") {
    // `sport/#` also matches `sport` itself.
    if (depth > 0 && node.message !== undefined) found.push(node.message.topic);
    for (const [name, child] of node.children ?? []) {
      if (depth === 0 && name.startsWith("$")) continue;
      gather(child, (message) => found.push(message.topic));
    }
    return;
  }
  if (level !== "+") {
    const child = node.children?.get(level);
    if (child !== undefined) collect(child, levels, depth + 1, found);
    return;
  }
  for (const [name, child] of node.children ?? []) {
    if (depth === 0 && name.startsWith("$")) continue;
    collect(child, levels, depth + 1, found);
  }
}

function gather(node: Node, visit: (message: Message) => void): void {
  if (node.message !== undefined) visit(node.message);
  for (const child of node.children?.values() ?? []) gather(child, visit);
}
