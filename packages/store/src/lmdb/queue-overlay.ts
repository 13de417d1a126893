import type { MessageNumber, QueueState, SessionNumber, StoredMessage } from "@postern/core/session-store";

import type { EntryHead } from "./records.ts";

/** A body taken in by the open group, and how many living entries of that group name it. */
export interface FreshBody {
  readonly messageNumber: MessageNumber;
  readonly message: StoredMessage;
  readonly bytes: number;
  entryCount: number;
}

/** Where an entry's body is, once the entry's rows are written. */
export type Storage = "inline" | "apart" | "none";

/** A queue entry that changed since the database was last known to have all of it. */
export class OverlayEntry implements Omit<EntryHead, "inline"> {
  readonly session: SessionNumber;
  readonly position: number;
  readonly messageNumber: MessageNumber;
  readonly qos: 1 | 2;
  readonly retain: boolean;
  readonly subscriptionIdentifiers: readonly number[];
  readonly bytes: number;
  state: QueueState;
  packetId: number;
  /** The body while it may not be in the database yet. */
  body: FreshBody | undefined;
  storage: Storage;
  /** Which of its rows exist once everything appended so far is written. */
  hasEntryRow: boolean;
  hasDeliveryRow: boolean;
  gone = false;
  /** The group it was enqueued in; 0 when it came from the database. */
  readonly addedInGroup: number;
  /** The last group that changed it. */
  group: number;

  constructor(
    session: SessionNumber,
    position: number,
    head: Omit<EntryHead, "inline">,
    rows: {
      readonly body: FreshBody | undefined;
      readonly storage: Storage;
      readonly hasEntryRow: boolean;
      readonly hasDeliveryRow: boolean;
      readonly addedInGroup: number;
    },
  ) {
    this.session = session;
    this.position = position;
    this.messageNumber = head.messageNumber;
    this.qos = head.qos;
    this.retain = head.retain;
    this.subscriptionIdentifiers = head.subscriptionIdentifiers;
    this.bytes = head.bytes;
    this.state = head.state;
    this.packetId = head.packetId;
    this.body = rows.body;
    this.storage = rows.storage;
    this.hasEntryRow = rows.hasEntryRow;
    this.hasDeliveryRow = rows.hasDeliveryRow;
    this.addedInGroup = rows.addedInGroup;
    this.group = rows.addedInGroup;
  }
}

/** The share of one session. */
class SessionOverlay {
  /** By position: every entry that is newer here than in the database. */
  readonly changed = new Map<number, OverlayEntry>();
  /** Entries that may not be in the database yet, in order of position: all the database has come before them. */
  #appended: OverlayEntry[] = [];
  #head = 0;

  append(entry: OverlayEntry): void {
    this.#appended.push(entry);
  }

  /** The position of the first entry that may not be in the database yet; `Infinity` when there is none. */
  get firstAppended(): number {
    return this.#appended[this.#head]?.position ?? Infinity;
  }

  *appendedFrom(position: number): Iterable<OverlayEntry> {
    let low = this.#head;
    let high = this.#appended.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if ((this.#appended[middle]?.position ?? 0) < position) low = middle + 1;
      else high = middle;
    }
    for (let index = low; index < this.#appended.length; index += 1) {
      const entry = this.#appended[index];
      if (entry !== undefined) yield entry;
    }
  }

  /** Entries enqueued up to `group` are in the database now. */
  settle(group: number): void {
    while ((this.#appended[this.#head]?.addedInGroup ?? Infinity) <= group) this.#head += 1;
    if (this.#head * 2 > this.#appended.length) {
      this.#appended = this.#appended.slice(this.#head);
      this.#head = 0;
    }
  }

  get isEmpty(): boolean {
    return this.changed.size === 0 && this.#head === this.#appended.length;
  }
}

/**
 * The queue entries that are newer in memory than in the database. It holds what is being committed and no more:
 * `settle` lets go of everything whose last change is on disk.
 */
export class QueueOverlay {
  readonly #sessions = new Map<SessionNumber, SessionOverlay>();

  get(session: SessionNumber): SessionOverlay | undefined {
    return this.#sessions.get(session);
  }

  find(session: SessionNumber, position: number): OverlayEntry | undefined {
    return this.#sessions.get(session)?.changed.get(position);
  }

  /** Takes in an entry: as a new one at the end when it was `enqueued`, else over the one in the database. */
  put(entry: OverlayEntry, enqueued: boolean): void {
    let overlay = this.#sessions.get(entry.session);
    if (overlay === undefined) {
      overlay = new SessionOverlay();
      this.#sessions.set(entry.session, overlay);
    }
    overlay.changed.set(entry.position, entry);
    if (enqueued) overlay.append(entry);
  }

  /** Forgets a session that was deleted. @returns its entries. */
  drop(session: SessionNumber): Iterable<OverlayEntry> {
    const overlay = this.#sessions.get(session);
    this.#sessions.delete(session);
    return overlay === undefined ? [] : overlay.changed.values();
  }

  /** `group` and all before it are on disk; `touched` are the entries they changed. @returns those that are forgotten. */
  settle(touched: readonly OverlayEntry[], group: number): readonly OverlayEntry[] {
    const forgotten: OverlayEntry[] = [];
    for (const entry of touched) {
      const overlay = this.#sessions.get(entry.session);
      if (overlay === undefined) continue;
      if (entry.group <= group && overlay.changed.get(entry.position) === entry) {
        overlay.changed.delete(entry.position);
        forgotten.push(entry);
      }
      overlay.settle(group);
      if (overlay.isEmpty) this.#sessions.delete(entry.session);
    }
    return forgotten;
  }
}
