import {
  type LoadedQueueEntry,
  type MessageNumber,
  messageBytes,
  type QueueEntry,
  QueueState,
  type SessionNumber,
  type StoredMessage,
} from "@postern/core/session-store";

import { StoreCorruptError } from "../errors.ts";
import { checkNumber, checkPacketId, NUMBER_MAX } from "../numbers.ts";
import { BodyLedger } from "./body-ledger.ts";
import type { ClosedGroup } from "./commit-pipeline.ts";
import type { LmdbReader } from "./database.ts";
import { Kind, QueuePart } from "./keys.ts";
import { KnownEntries } from "./known-entries.ts";
import { type FreshBody, OverlayEntry, QueueOverlay } from "./queue-overlay.ts";
import { QueuePage, type QueueRange } from "./queue-page.ts";
import { emptyCounters, QueueRows, type StoredEntry } from "./queue-rows.ts";
import {
  type EntryHead,
  type QueueCounters,
  readEntryHead,
  readMessage,
  writeCounters,
  writeEntryHead,
  writeMessage,
} from "./records.ts";
import { RowReader } from "./row-reader.ts";
import type { RowWriter } from "./row-writer.ts";

/**
 * A body that one session waits for is written within its entry, which halves the rows; but an entry is read whole
 * when it is dequeued, and LMDB gives rows of more than half a page pages of their own.
 */
const INLINE_BODY_BYTES_MAX = 1024;

/** Message numbers are promised to the disk by the million, so that a crash can never make one come twice. */
const MESSAGE_NUMBERS_PER_PROMISE = 2 ** 20;

/** The queues of all sessions: what changed lately in memory, the rest on disk. */
export class QueueTable {
  readonly #rows: QueueRows;
  readonly #writer: RowWriter;
  readonly #overlay = new QueueOverlay();
  readonly #known = new KnownEntries();
  readonly #ledger: BodyLedger;
  /** Of sessions that were used since the start. */
  readonly #counters = new Map<SessionNumber, QueueCounters>();
  /** Deleted sessions whose rows may still be in the database. */
  readonly #doomed = new Set<SessionNumber>();
  /** Bodies that new entries may name. */
  readonly #bodies = new Map<MessageNumber, FreshBody>();
  #nextMessageNumber: MessageNumber;
  #messageNumberPromise: MessageNumber;

  // What the open group did.
  #group = 1;
  #touched: OverlayEntry[] = [];
  #enqueued: OverlayEntry[] = [];
  readonly #touchedSessions = new Set<SessionNumber>();

  /** Appends go to `writer`, whose rows `closeGroup` takes. */
  constructor(reader: LmdbReader, writer: RowWriter) {
    this.#rows = new QueueRows(reader);
    this.#writer = writer;
    this.#ledger = new BodyLedger((messageNumber) => this.#rows.bodyCount(messageNumber));
    this.#messageNumberPromise = this.#rows.messageNumberPromise();
    this.#nextMessageNumber = this.#messageNumberPromise;
  }

  /** The number of the group that appends go to. */
  get openGroup(): number {
    return this.#group;
  }

  /** Whether a body was taken in that no commit has closed off yet. */
  get hasFreshBodies(): boolean {
    return this.#bodies.size > 0;
  }

  /** `undefined` for a session that is not there. */
  counters(session: SessionNumber): QueueCounters | undefined {
    const known = this.#counters.get(session);
    if (known !== undefined || this.#doomed.has(session)) return known;
    const stored = this.#rows.counters(session);
    if (stored !== undefined) this.#counters.set(session, stored);
    return stored;
  }

  /** @throws {RangeError} when the number belonged to a session that was deleted. */
  addSession(session: SessionNumber): void {
    if (this.#doomed.has(session)) throw new RangeError(`session number ${session} was used before`);
    if (this.counters(session) === undefined) this.#counters.set(session, emptyCounters());
  }

  /** Forgets the session; its rows are the sweeper's to remove. */
  dropSession(session: SessionNumber): void {
    this.doom(session);
    for (const entry of this.#overlay.drop(session)) {
      if (!this.#isFresh(entry) || entry.gone) continue;
      entry.gone = true;
      if (entry.body !== undefined && entry.state !== QueueState.released) entry.body.entryCount -= 1;
    }
  }

  /** The session is not there any more, though its rows may be. */
  doom(session: SessionNumber): void {
    this.#doomed.add(session);
    this.#known.drop(session);
    this.#counters.delete(session);
    this.#touchedSessions.delete(session);
  }

  /** All rows of the session are deleted, in the open group at the latest. */
  swept(session: SessionNumber): void {
    this.#doomed.delete(session);
  }

  addMessage(message: StoredMessage): MessageNumber {
    const messageNumber = this.#nextMessageNumber;
    this.#nextMessageNumber += 1;
    if (messageNumber >= this.#messageNumberPromise) {
      this.#messageNumberPromise = messageNumber + MESSAGE_NUMBERS_PER_PROMISE;
      this.#writer.begin(Kind.messageNumber);
      this.#writer.value();
      this.#writer.u48(this.#messageNumberPromise);
      this.#writer.put();
    }
    this.#bodies.set(messageNumber, { messageNumber, message, bytes: messageBytes(message), entryCount: 0 });
    return messageNumber;
  }

  enqueue(session: SessionNumber, entry: QueueEntry): void {
    const counters = this.counters(session);
    if (counters === undefined) throw new RangeError(`session ${session} is not in the store`);
    checkNumber("position", entry.position);
    checkNumber("message number", entry.messageNumber);
    checkPacketId(entry.packetId);
    if (entry.position < counters.nextPosition) {
      throw new RangeError(
        `position ${entry.position} is below ${counters.nextPosition}, the lowest that is free`,
      );
    }
    const hasBody = entry.state !== QueueState.released;
    const body = hasBody ? this.#bodies.get(entry.messageNumber) : undefined;
    if (hasBody && body === undefined) {
      throw new RangeError(`message ${entry.messageNumber} was not added since the last commit`);
    }
    const bytes = body?.bytes ?? 0;
    const rows = { body, storage: "none", hasEntryRow: false, hasDeliveryRow: false } as const;
    const added = new OverlayEntry(
      session,
      entry.position,
      { ...entry, bytes },
      { ...rows, addedInGroup: this.#group },
    );
    this.#overlay.put(added, true);
    this.#touched.push(added);
    this.#enqueued.push(added);
    counters.nextPosition = entry.position + 1;
    this.#touchedSessions.add(session);
    if (body === undefined) return;
    body.entryCount += 1;
    counters.queuedCount += 1;
    counters.queuedBytes += bytes;
  }

  markSent(session: SessionNumber, position: number, packetId: number): void {
    checkPacketId(packetId);
    const entry = this.#find(session, position);
    if (entry === undefined || entry.state === QueueState.released) return;
    entry.state = QueueState.sent;
    entry.packetId = packetId;
    this.#touch(entry);
    if (!this.#isFresh(entry)) this.#writeDelivery(entry);
  }

  markReleased(session: SessionNumber, position: number): void {
    const entry = this.#find(session, position);
    if (entry === undefined || entry.state === QueueState.released) return;
    this.#letGo(entry);
    entry.state = QueueState.released;
    this.#touch(entry);
    if (this.#isFresh(entry)) return;
    this.#writeDelivery(entry);
    this.#deleteRow(entry, QueuePart.entry);
    entry.hasEntryRow = false;
  }

  dequeue(session: SessionNumber, position: number): void {
    const entry = this.#find(session, position);
    if (entry === undefined) return;
    if (entry.state !== QueueState.released) this.#letGo(entry);
    entry.gone = true;
    this.#touch(entry);
    if (entry.hasEntryRow) this.#deleteRow(entry, QueuePart.entry);
    if (entry.hasDeliveryRow) this.#deleteRow(entry, QueuePart.delivery);
    entry.hasEntryRow = false;
    entry.hasDeliveryRow = false;
  }

  /** An entry row of a session that was dropped is being swept out: lets go of its body. */
  sweepEntry(key: Buffer, value: Buffer): void {
    try {
      const head = readEntryHead(new RowReader(key, value));
      if (!head.inline) this.#ledger.release(head.messageNumber);
    } catch (error) {
      // A damaged row names no body to let go of. It is deleted like the others.
      if (!(error instanceof StoreCorruptError)) throw error;
    }
  }

  read(session: SessionNumber, range: QueueRange): LoadedQueueEntry[] {
    if (this.counters(session) === undefined || range.fromPosition > NUMBER_MAX) return [];
    const overlay = this.#overlay.get(session);
    const page = new QueuePage(range);
    const firstAppended = overlay?.firstAppended ?? Infinity;
    for (const stored of this.#rows.entries(session, range.fromPosition, firstAppended)) {
      const changed = overlay?.changed.get(stored.position);
      if (changed?.gone === true) continue;
      const head = changed ?? stored.head;
      if (!page.hasRoom(head)) return page.entries;
      if (changed === undefined && this.#known.find(session, stored.position) === undefined)
        this.#known.set(overlayEntryOf(session, stored));
      page.add(stored.position, head, this.#message(head, changed?.body, stored.inlineBody));
    }
    for (const entry of overlay?.appendedFrom(range.fromPosition) ?? []) {
      if (entry.gone) continue;
      if (!page.hasRoom(entry)) break;
      page.add(entry.position, entry, this.#message(entry, entry.body, undefined));
    }
    return page.entries;
  }

  /** Ends the open group, writes what it comes to, and takes all rows. `undefined` when there is nothing in it. */
  closeGroup(): ClosedGroup | undefined {
    this.#writeEnqueued();
    const bodies = this.#writeBodies();
    for (const session of this.#touchedSessions) this.#writeCounters(session);
    this.#touchedSessions.clear();
    if (this.#writer.isEmpty) return undefined;
    const group = this.#group;
    const entries = this.#touched;
    this.#group += 1;
    this.#touched = [];
    return { group, rows: this.#writer.take(), entries, bodies };
  }

  /** New entries can no longer name the bodies taken in so far. */
  endBodies(): void {
    this.#bodies.clear();
  }

  /** The group, and all before it, are on disk. */
  settle(closed: ClosedGroup): void {
    for (const entry of this.#overlay.settle(closed.entries, closed.group)) this.#settleEntry(entry);
    this.#ledger.settle(closed.bodies, closed.group);
  }

  /** Of what is in flight more is to come. */
  #settleEntry(entry: OverlayEntry): void {
    if (entry.gone) this.#known.delete(entry);
    else if (entry.state !== QueueState.queued) {
      entry.body = undefined;
      this.#known.set(entry);
    }
  }

  #writeEnqueued(): void {
    for (const entry of this.#enqueued) {
      if (entry.gone) continue;
      const { body } = entry;
      if (entry.state === QueueState.released || body === undefined) {
        this.#writeDelivery(entry);
        continue;
      }
      const inline = body.entryCount === 1 && body.bytes <= INLINE_BODY_BYTES_MAX;
      this.#beginQueueRow(entry, QueuePart.entry);
      writeEntryHead(this.#writer, entry, inline);
      if (inline) writeMessage(this.#writer, body.message);
      this.#writer.put();
      entry.storage = inline ? "inline" : "apart";
      entry.hasEntryRow = true;
    }
    this.#enqueued = [];
  }

  /** @returns the bodies whose count changed. */
  #writeBodies(): MessageNumber[] {
    const touched = this.#ledger.closeGroup(this.#writer, this.#group);
    for (const body of this.#bodies.values()) {
      const { entryCount, bytes, message, messageNumber } = body;
      if (entryCount === 0 || (entryCount === 1 && bytes <= INLINE_BODY_BYTES_MAX)) continue;
      this.#ledger.add(this.#writer, message, messageNumber, entryCount, this.#group);
      touched.push(messageNumber);
    }
    return touched;
  }

  #writeCounters(session: SessionNumber): void {
    const counters = this.#counters.get(session);
    if (counters === undefined) return;
    this.#writer.begin(Kind.counters);
    this.#writer.sortedU48(session);
    this.#writer.value();
    writeCounters(this.#writer, counters);
    this.#writer.put();
  }

  #writeDelivery(entry: OverlayEntry): void {
    this.#beginQueueRow(entry, QueuePart.delivery);
    writeEntryHead(this.#writer, entry, entry.storage === "inline");
    this.#writer.put();
    entry.hasDeliveryRow = true;
  }

  #beginQueueRow(entry: OverlayEntry, part: number): void {
    this.#writeQueueKey(entry, part);
    this.#writer.value();
  }

  #deleteRow(entry: OverlayEntry, part: number): void {
    this.#writeQueueKey(entry, part);
    this.#writer.delete();
  }

  #writeQueueKey(entry: OverlayEntry, part: number): void {
    this.#writer.begin(Kind.queue);
    this.#writer.sortedU48(entry.session);
    this.#writer.sortedU48(entry.position);
    this.#writer.u8(part);
  }

  /** The entry stops holding its body and stops counting. */
  #letGo(entry: OverlayEntry): void {
    const counters = this.counters(entry.session);
    if (counters !== undefined) {
      counters.queuedCount -= 1;
      counters.queuedBytes -= entry.bytes;
    }
    if (this.#isFresh(entry)) {
      if (entry.body !== undefined) entry.body.entryCount -= 1;
    } else if (entry.storage === "apart") {
      this.#ledger.release(entry.messageNumber);
    }
    entry.storage = "none";
  }

  /** Enqueued in the open group: its rows are not written yet. */
  #isFresh(entry: OverlayEntry): boolean {
    return entry.addedInGroup === this.#group;
  }

  #touch(entry: OverlayEntry): void {
    this.#touchedSessions.add(entry.session);
    if (entry.group === this.#group) return;
    entry.group = this.#group;
    this.#overlay.put(entry, false);
    this.#touched.push(entry);
  }

  /** The living entry at a position, ready to be changed. */
  #find(session: SessionNumber, position: number): OverlayEntry | undefined {
    const changed = this.#overlay.find(session, position);
    if (changed !== undefined) return changed.gone ? undefined : changed;
    if (this.counters(session) === undefined) return undefined;
    const known = this.#known.find(session, position);
    if (known !== undefined) return known;
    const stored = this.#rows.find(session, position);
    return stored === undefined ? undefined : overlayEntryOf(session, stored);
  }

  #message(
    head: Omit<EntryHead, "inline">,
    fresh: FreshBody | undefined,
    inlineBody: RowReader | undefined,
  ): StoredMessage | null {
    if (head.state === QueueState.released) return null;
    if (fresh !== undefined) return fresh.message;
    return inlineBody === undefined ? this.#rows.body(head.messageNumber) : readMessage(inlineBody);
  }
}

function overlayEntryOf(session: SessionNumber, stored: StoredEntry): OverlayEntry {
  const { position, head, hasEntryRow, hasDeliveryRow } = stored;
  const storage = !hasEntryRow ? "none" : stored.inlineBody === undefined ? "apart" : "inline";
  const rows = { body: undefined, storage, hasEntryRow, hasDeliveryRow, addedInGroup: 0 } as const;
  return new OverlayEntry(session, position, head, rows);
}
