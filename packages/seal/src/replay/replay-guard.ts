import { decodeCbor } from "../cbor/decode.ts";
import { encodeCbor } from "../cbor/encode.ts";
import type { CborValue } from "../cbor/value.ts";
import { instanceBytes, sequenceMax, type Position } from "../envelope/position.ts";
import { ReplayWindow, windowEntries, type SequenceVerdict } from "./replay-window.ts";

/** Instances of one sender and epoch that are remembered: the newest. Older ones are refused, so that forgetting lets nothing in. */
export const instancesMax = 4;

/** Senders and epochs that one receiver remembers; each takes up to some hundred bytes. */
export const sendersMax = 10_000;

/** As many of them may be only claimed (`inScope`): a member of a group can make up names, and must leave room for senders that are proved. */
export const claimedSendersMax = 8_000;

/** The name of a sender that is only claimed, in the group whose members claim it: it has a window of its own there. Names have no such character. */
export function inScope(sender: string, scope: string): string {
  return `${sender}\n${scope}`;
}

function isClaimed(sender: string): boolean {
  return sender.includes("\n");
}

export interface MessagePlace extends Position {
  readonly epoch: number;
  readonly sender: string;
}

export type GuardVerdict = SequenceVerdict | "too-many-senders";

interface Tracked {
  readonly instance: Buffer;
  readonly window: ReplayWindow;
  /** The highest sequence number that is on disk as accepted. */
  stored: number;
  /** Whether what is on disk says of each number below that, too, whether it was accepted; otherwise all of them count as such. */
  isExact: boolean;
}

interface Sender {
  readonly epoch: number;
  readonly sender: string;
  /** The newest first. */
  instances: Tracked[];
  /** Instances up to this one count as known and over; there is none at first. */
  floor: Buffer | undefined;
}

export interface ReplayGuardOptions {
  /**
   * By how many sequence numbers what is stored runs ahead of what was accepted, so that it need not be stored for each message.
   * After a crash that many messages of each sender are taken for replayed; none where `encode` was exact.
   */
  readonly ahead?: number;
}

/**
 * Accepts each message of each sender once: a window of 1,024 for each sender, epoch and instance. To survive a restart it is stored
 * with `encode` whenever `mustStore` says so, before the message is handed on, and read back with `ReplayGuard.decode`.
 */
export class ReplayGuard {
  readonly #senders = new Map<string, Sender>();
  readonly #ahead: number;
  #mustStore = false;
  #claimed = 0;

  constructor({ ahead = 64 }: ReplayGuardOptions = {}) {
    this.#ahead = ahead;
  }

  /** Whether something was accepted that a crash would make us forget: store `encode()` before the message is handed on. */
  get mustStore(): boolean {
    return this.#mustStore;
  }

  /** Asks without remembering. Only for messages that are proved to be of that sender. */
  judge({ epoch, sender, instance, sequence }: MessagePlace): GuardVerdict {
    const known = this.#senders.get(keyOf(epoch, sender));
    if (known === undefined) return this.#hasRoomFor(sender) ? "fresh" : "too-many-senders";
    const tracked = known.instances.find((each) => each.instance.equals(instance));
    if (tracked !== undefined) return tracked.window.judge(sequence);
    return known.floor !== undefined && known.floor.compare(instance) >= 0 ? "outside-window" : "fresh";
  }

  #hasRoomFor(sender: string): boolean {
    return this.#senders.size < sendersMax && (!isClaimed(sender) || this.#claimed < claimedSendersMax);
  }

  #put(sender: Sender): void {
    this.#senders.set(keyOf(sender.epoch, sender.sender), sender);
    if (isClaimed(sender.sender)) this.#claimed += 1;
  }

  /** Remembers a message that `judge` found fresh. */
  accept({ epoch, sender, instance, sequence }: MessagePlace): void {
    let known = this.#senders.get(keyOf(epoch, sender));
    if (known === undefined) {
      known = { epoch, sender, instances: [], floor: undefined };
      this.#put(known);
    }
    let tracked = known.instances.find((each) => each.instance.equals(instance));
    if (tracked === undefined) {
      tracked = { instance: Buffer.from(instance), window: new ReplayWindow(), stored: -1, isExact: false };
      known.instances.push(tracked);
      known.instances.sort((a, b) => b.instance.compare(a.instance));
      const over = known.instances.splice(instancesMax);
      known.floor = over[0]?.instance ?? known.floor;
    }
    tracked.window.accept(sequence);
    if (tracked.isExact || sequence > tracked.stored) this.#mustStore = true;
  }

  /** Senders and epochs that are remembered. */
  get size(): number {
    return this.#senders.size;
  }

  /** Forgets epochs in which nothing is accepted any longer, and makes room for others. */
  forget(isLive: (epoch: number) => boolean): void {
    for (const [key, { epoch, sender }] of this.#senders) {
      if (isLive(epoch)) continue;
      this.#senders.delete(key);
      if (isClaimed(sender)) this.#claimed -= 1;
    }
  }

  /**
   * What is to be stored. It runs ahead (see `ReplayGuardOptions`), or is `exact`, for an end or a pause: with the next message it must be stored again.
   */
  encode({ exact = false }: { readonly exact?: boolean } = {}): Buffer {
    const senders: CborValue[] = [];
    for (const { epoch, sender, instances, floor } of this.#senders.values()) {
      const windows = instances.map((tracked): CborValue => {
        tracked.isExact = exact;
        if (exact) {
          tracked.stored = tracked.window.highest;
          return [tracked.instance, tracked.stored, tracked.window.bits()];
        }
        tracked.stored = Math.max(
          tracked.stored,
          Math.min(sequenceMax, tracked.window.highest + this.#ahead),
        );
        return [tracked.instance, tracked.stored];
      });
      senders.push([epoch, sender, floor ?? null, windows]);
    }
    this.#mustStore = false;
    return encodeCbor([version, senders]);
  }

  /** What was stored; `undefined` when it is damaged. */
  static decode(bytes: Uint8Array, options: ReplayGuardOptions = {}): ReplayGuard | undefined {
    const decoded = decodeCbor(bytes, { items: storedItemsMax });
    if (decoded.kind === "malformed" || !isArray(decoded.value) || decoded.value[0] !== version)
      return undefined;
    const guard = new ReplayGuard(options);
    const senders = decoded.value[1];
    if (!isArray(senders) || senders.length > sendersMax) return undefined;
    for (const each of senders) {
      const known = senderFrom(each);
      if (known === undefined) return undefined;
      guard.#put(known);
    }
    return guard;
  }
}

const version = 1;

/** Items in what is stored: the array and its two, four and their array for each sender, three and their array for each instance. */
const storedItemsMax = 3 + sendersMax * (5 + instancesMax * 4);

function keyOf(epoch: number, sender: string): string {
  return `${epoch} ${sender}`;
}

function isArray(value: CborValue): value is readonly CborValue[] {
  return Array.isArray(value);
}

function isInstance(value: CborValue): value is Uint8Array {
  return value instanceof Uint8Array && value.length === instanceBytes;
}

function senderFrom(value: CborValue): Sender | undefined {
  if (!isArray(value)) return undefined;
  const [epoch, sender, floor, windows] = value;
  if (typeof epoch !== "number" || typeof sender !== "string" || !isArray(windows)) return undefined;
  if (floor !== null && !isInstance(floor)) return undefined;
  const instances: Tracked[] = [];
  for (const each of windows) {
    const tracked = trackedFrom(each);
    if (tracked === undefined) return undefined;
    instances.push(tracked);
  }
  return { epoch, sender, instances, floor: floor === null ? undefined : Buffer.from(floor) };
}

function trackedFrom(value: CborValue): Tracked | undefined {
  if (!isArray(value)) return undefined;
  const [instance, highest, bits] = value;
  if (!isInstance(instance) || typeof highest !== "number" || highest > sequenceMax) return undefined;
  if (bits !== undefined && !(bits instanceof Uint8Array && bits.length === windowEntries / 8))
    return undefined;
  const window = bits === undefined ? ReplayWindow.closedUpTo(highest) : ReplayWindow.from(highest, bits);
  return { instance: Buffer.from(instance), window, stored: highest, isExact: bits !== undefined };
}
