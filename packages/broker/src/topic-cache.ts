import { decodeTopicName } from "@postern/mqtt/publish";

import type { PayloadRule } from "./ports.ts";
import type { TopicMatch } from "./subscription.ts";
import { TopicTree } from "./topic-tree.ts";

const entriesMax = 65_536;
const bytesMax = 16_777_216;
/** Subscriptions that may be remembered for all topics together: with many subscribers a few topics fill it. */
const subscriptionsMax = 262_144;

/** With so many topics in the cache, further ones are taken in when they come for the second time. */
const entriesEasily = 32_768;
/** Topics that were seen once are told by as many of their hashes. */
const seenMax = 65_536;

/** A topic name that was seen: its text, its bytes, and who is subscribed to it as long as that holds. */
export interface TopicEntry {
  readonly text: string;
  readonly bytes: Buffer;
  /** False when it is not in the cache, or no longer: a holder must ask for the entry again. */
  live: boolean;
  match: TopicMatch | undefined;
  matchVersion: number;
  /** How many subscriptions stand in `match`. */
  matchSize: number;
  /** What the topic demands of payloads, by the permissions of this version. */
  rule: PayloadRule | undefined;
  ruleVersion: number;
}

/**
 * Topic names by their bytes, so that a packet on a known topic needs neither a string nor a walk of the tree.
 * Bounded in entries, bytes and remembered subscriptions: emptied when full. A million topics with a message each would fill it again
 * and again, at 5 µs a message: when there are many, a name is taken in when a packet brings it for the second time.
 */
export class TopicCache {
  readonly tree: TopicTree;
  readonly #byHash = new Map<number, TopicEntry>();
  readonly #byText = new Map<string, TopicEntry>();
  readonly #seen = new Uint32Array(seenMax);
  #bytes = 0;
  #subscriptions = 0;

  constructor() {
    this.tree = new TopicTree((topic) => {
      const entry = this.#byText.get(topic);
      if (entry !== undefined) this.#forgetMatch(entry);
    });
  }

  /** How many subscriptions are remembered, counted once for each topic. */
  get subscriptionCount(): number {
    return this.#subscriptions;
  }

  /** The entry of the topic name in `bytes`, or `undefined` when it is not a legal topic name. */
  lookup(bytes: Buffer, start: number, end: number): TopicEntry | undefined {
    const hash = hashOf(bytes, start, end);
    const known = this.#byHash.get(hash);
    if (known !== undefined && sameBytes(known.bytes, bytes, start, end)) return known;
    const text = decodeTopicName(bytes, start, end);
    if (text === undefined) return undefined;
    const slot = hash & (seenMax - 1);
    if (this.#byText.size < entriesEasily || this.#seen[slot] === hash >>> 0) return this.#insert(text, hash);
    this.#seen[slot] = hash;
    return this.#byText.get(text) ?? newEntry(text, false);
  }

  byText(text: string): TopicEntry {
    const known = this.#byText.get(text);
    if (known !== undefined) return known;
    const bytes = ownBytes(text);
    return this.#insert(text, hashOf(bytes, 0, bytes.length));
  }

  /** Who gets a message on this topic. */
  matchOf(entry: TopicEntry): TopicMatch {
    const { match } = entry;
    if (match !== undefined && entry.matchVersion === this.tree.wildcardVersion) return match;
    this.#forgetMatch(entry);
    const found = this.tree.match(entry.text);
    if (!entry.live) return found;
    const size = sizeOf(found);
    if (this.#subscriptions + size > subscriptionsMax)
      for (const known of this.#byText.values()) this.#forgetMatch(known);
    if (size > subscriptionsMax) return found;
    this.#subscriptions += size;
    entry.match = found;
    entry.matchSize = size;
    entry.matchVersion = this.tree.wildcardVersion;
    return found;
  }

  #forgetMatch(entry: TopicEntry): void {
    if (entry.match === undefined) return;
    this.#subscriptions -= entry.matchSize;
    entry.match = undefined;
    entry.matchSize = 0;
  }

  #insert(text: string, hash: number): TopicEntry {
    const known = this.#byText.get(text);
    if (known !== undefined) {
      this.#byHash.set(hash, known);
      return known;
    }
    const entry = newEntry(text, true);
    const { length } = entry.bytes;
    if (this.#byText.size >= entriesMax || this.#bytes + length > bytesMax) this.#clear();
    this.#bytes += length;
    this.#byText.set(text, entry);
    this.#byHash.set(hash, entry);
    return entry;
  }

  #clear(): void {
    for (const entry of this.#byText.values()) {
      this.#forgetMatch(entry);
      entry.live = false;
    }
    this.#byText.clear();
    this.#byHash.clear();
    this.#bytes = 0;
  }
}

function newEntry(text: string, live: boolean): TopicEntry {
  return {
    text,
    bytes: Buffer.from(text),
    live,
    match: undefined,
    matchVersion: -1,
    matchSize: 0,
    rule: undefined,
    ruleVersion: 0,
  };
}

function sizeOf({ targets, groups }: TopicMatch): number {
  let size = groups.length;
  for (const { subscriptions } of targets) size += subscriptions.length;
  return size;
}

/** Whether the bytes of a known topic stand at `start` to `end`. */
export function sameBytes(known: Buffer, bytes: Buffer, start: number, end: number): boolean {
  const length = end - start;
  if (known.length !== length) return false;
  // Publishers name their topics alike from the front: the last bytes differ first.
  for (let index = length - 1; index >= 0; index -= 1) {
    if (known[index] !== bytes[start + index]) return false;
  }
  return true;
}

/** Bytes of their own: a slice of a shared pool would keep the whole pool alive for as long as the topic is known. */
function ownBytes(text: string): Buffer {
  const bytes = Buffer.allocUnsafeSlow(Buffer.byteLength(text));
  bytes.write(text);
  return bytes;
}

/** FNV-1a over the bytes, 32 bits. Only spreads entries: equality is decided by the bytes themselves. */
function hashOf(bytes: Buffer, start: number, end: number): number {
  let hash = 0x81_1c_9d_c5;
  for (let index = start; index < end; index += 1) {
    hash = Math.imul(hash ^ (bytes[index] ?? 0), 0x01_00_01_93);
  }
  return hash;
}
