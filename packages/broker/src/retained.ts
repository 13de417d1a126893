import type { SessionStore, StoredMessage } from "@postern/core/session-store";

import type { Limits } from "./limits.ts";
import { Message } from "./message.ts";
import { type RetainedNode, RetainedWalk } from "./retained-walk.ts";

interface Amount {
  count: number;
  bytes: number;
}

/** What one publisher may have retained at most. */
export interface RetainedQuota {
  readonly retainedMessagesMax: number | undefined;
  readonly retainedBytesMax: number | undefined;
}

/** What became of a retained message: `over-limit` leaves everything as it was. */
export type RetainResult = "kept" | "cleared" | "over-limit";

/** The retained messages by topic: a tree of levels, so that a filter with wildcards visits only what can match. */
export class Retained {
  readonly #store: SessionStore;
  readonly #limits: Limits;
  readonly #root: RetainedNode = newNode();
  /** How many topics got a message that had none. */
  #newest = 0;
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

  /** The messages that the filter matches (all, without one), of the topics that have one now. */
  walk(filter: string | undefined): RetainedWalk {
    return new RetainedWalk(this.#root, filter, this.#newest);
  }

  /** Forgets a message, also on disk. */
  end(topic: string): void {
    if (this.#clear(topic)) this.#store.deleteRetained(topic);
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

  #keep(node: RetainedNode, message: Message): void {
    if (node.message === undefined) node.since = this.#newest += 1;
    else this.#account(node.message, -1);
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
    const path: { readonly node: RetainedNode; readonly level: string }[] = [];
    let node: RetainedNode = this.#root;
    for (const level of topic.split("/")) {
      const child: RetainedNode | undefined = node.children?.get(level);
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

function newNode(): RetainedNode {
  return { children: undefined, message: undefined, since: 0 };
}

/** The topic's node, where there is one. */
function walk(root: RetainedNode, levels: readonly string[]): RetainedNode | undefined {
  let node: RetainedNode | undefined = root;
  for (const level of levels) {
    node = node.children?.get(level);
    if (node === undefined) return undefined;
  }
  return node;
}

/** The topic's node, made where there is none. */
function grow(root: RetainedNode, levels: readonly string[]): RetainedNode {
  let node = root;
  for (const level of levels) {
    node.children ??= new Map();
    let child = node.children.get(level);
    if (child === undefined) {
      child = newNode();
      node.children.set(level, child);
    }
    node = child;
  }
  return node;
}
