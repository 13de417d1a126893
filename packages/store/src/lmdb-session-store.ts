import assert from "node:assert/strict";

import type {
  AcceptedState,
  LoadedQueueEntry,
  LoadedSession,
  MessageNumber,
  QueueEntry,
  SessionNumber,
  SessionStore,
  StoredMessage,
  StoredSession,
  StoredSubscription,
  StoredWill,
} from "@postern/core/session-store";

import { writeBackup } from "./backup.ts";
import type { Progress } from "./check-store-file.ts";
import { type ClosedGroup, CommitPipeline } from "./lmdb/commit-pipeline.ts";
import type { LmdbReader } from "./lmdb/database.ts";
import { keyNumber, keyPacketId, Kind, kindKey, textKey } from "./lmdb/keys.ts";
import { QueueTable } from "./lmdb/queue-table.ts";
import {
  readAccepted,
  readCounters,
  readMessage,
  readSession,
  readSubscription,
  readWill,
  writeAccepted,
  writeMessage,
  writeSession,
  writeSubscription,
  writeWill,
} from "./lmdb/records.ts";
import { RowCursor } from "./lmdb/row-cursor.ts";
import { RowReader } from "./lmdb/row-reader.ts";
import { RowWriter } from "./lmdb/row-writer.ts";
import { SessionSweeper } from "./lmdb/session-sweeper.ts";
import type { LmdbWriter } from "./lmdb/writer.ts";
import { checkNumber, checkPacketId } from "./numbers.ts";

/** What an opened data directory consists of; the store lets go of all of it in `close`. */
export interface LmdbStoreParts {
  /** The data file. */
  readonly file: string;
  readonly reader: LmdbReader;
  readonly writer: LmdbWriter;
  /** Lets others open the directory. */
  readonly unlock: () => void;
}

/**
 * A session store on disk. Appends become rows in memory; `commit` hands them to a thread that writes each group, or
 * several in a row, as one LMDB transaction. What is not on disk yet is read from memory, so nothing that waits for
 * the disk ever shows. After a failed write the rows are kept in order and tried again with the next commit.
 *
 * `openLmdbSessionStore` makes one.
 */
export class LmdbSessionStore implements SessionStore {
  readonly #parts: LmdbStoreParts;
  readonly #reader: LmdbReader;
  readonly #writer = new RowWriter();
  readonly #queues: QueueTable;
  readonly #sweeper: SessionSweeper;
  readonly #pipeline: CommitPipeline;
  #nextSessionNumber: SessionNumber;
  #writtenSessionNumber: SessionNumber;
  #dirty = false;
  /** One slice for each write that succeeds: sweeping must not take over when there are many small commits. */
  #sweptSinceWrite = false;
  readonly #backups = new Set<Promise<void>>();
  #closing: Promise<void> | undefined;

  constructor(parts: LmdbStoreParts) {
    this.#parts = parts;
    this.#reader = parts.reader;
    this.#queues = new QueueTable(parts.reader, this.#writer);
    this.#sweeper = new SessionSweeper(parts.reader, this.#writer, this.#queues);
    this.#pipeline = new CommitPipeline(parts.writer, (groups) => this.#settled(groups));
    const key = kindKey(Kind.sessionNumber);
    const value = parts.reader.get(key);
    this.#nextSessionNumber = value === undefined ? 1 : new RowReader(key, value).varint();
    this.#writtenSessionNumber = this.#nextSessionNumber;
    if (!this.#sweeper.isDone) setImmediate(() => this.#sweepWhenIdle());
  }

  get dirty(): boolean {
    return this.#dirty;
  }

  *loadSessions(): Iterable<LoadedSession> {
    using counters = this.#cursor(Kind.counters);
    using subscriptions = this.#cursor(Kind.subscription);
    using inbound = this.#cursor(Kind.inbound);
    for (const { key, value } of this.#reader.range(kindKey(Kind.session), kindKey(Kind.session + 1))) {
      const number = keyNumber(key);
      const session = readSession(new RowReader(key, value));
      let queue = { queuedCount: 0, queuedBytes: 0, nextPosition: 1 };
      for (const row of counters.of(number)) queue = readCounters(new RowReader(row.key, row.value));
      const filters = new Map<string, StoredSubscription>();
      for (const row of subscriptions.of(number)) {
        const { filter, subscription } = readSubscription(new RowReader(row.key, row.value));
        filters.set(filter, subscription);
      }
      const inboundPacketIds: number[] = [];
      for (const row of inbound.of(number)) inboundPacketIds.push(keyPacketId(row.key));
      yield { number, session, subscriptions: filters, inboundPacketIds, ...queue };
    }
  }

  *loadRetained(): Iterable<StoredMessage> {
    for (const { key, value } of this.#reader.range(kindKey(Kind.retained), kindKey(Kind.retained + 1))) {
      yield readMessage(new RowReader(key, value));
    }
  }

  *loadWills(): Iterable<{ readonly number: SessionNumber; readonly will: StoredWill }> {
    for (const { key, value } of this.#reader.range(kindKey(Kind.will), kindKey(Kind.will + 1))) {
      yield { number: keyNumber(key), will: readWill(new RowReader(key, value)) };
    }
  }

  *loadAccepted(): Iterable<AcceptedState> {
    for (const { key, value } of this.#reader.range(kindKey(Kind.accepted), kindKey(Kind.accepted + 1))) {
      yield readAccepted(new RowReader(key, value));
    }
  }

  nextSessionNumber(): SessionNumber {
    return this.#nextSessionNumber;
  }

  putSession(number: SessionNumber, session: StoredSession): void {
    this.#appending();
    checkNumber("session number", number);
    this.#queues.addSession(number);
    this.#seen(number);
    this.#beginNumbered(Kind.session, number);
    this.#writer.value();
    writeSession(this.#writer, session);
    this.#writer.put();
  }

  deleteSession(number: SessionNumber): void {
    this.#appending();
    if (this.#queues.counters(number) === undefined) return;
    this.#queues.dropSession(number);
    this.#sweeper.add(number, this.#queues.openGroup);
    for (const kind of [Kind.session, Kind.counters]) {
      this.#beginNumbered(kind, number);
      this.#writer.delete();
    }
  }

  putSubscription(number: SessionNumber, filter: string, subscription: StoredSubscription): void {
    this.#appending();
    this.#checkSession(number);
    this.#beginNumbered(Kind.subscription, number);
    this.#writer.raw(textKey(filter));
    this.#writer.value();
    writeSubscription(this.#writer, filter, subscription);
    this.#writer.put();
  }

  deleteSubscription(number: SessionNumber, filter: string): void {
    this.#appending();
    if (this.#queues.counters(number) === undefined) return;
    this.#beginNumbered(Kind.subscription, number);
    this.#writer.raw(textKey(filter));
    this.#writer.delete();
  }

  putInbound(number: SessionNumber, packetId: number): void {
    this.#appending();
    checkPacketId(packetId);
    this.#checkSession(number);
    this.#beginNumbered(Kind.inbound, number);
    this.#writer.sortedU16(packetId);
    this.#writer.value();
    this.#writer.put();
  }

  deleteInbound(number: SessionNumber, packetId: number): void {
    this.#appending();
    checkPacketId(packetId);
    if (this.#queues.counters(number) === undefined) return;
    this.#beginNumbered(Kind.inbound, number);
    this.#writer.sortedU16(packetId);
    this.#writer.delete();
  }

  addMessage(message: StoredMessage): MessageNumber {
    this.#checkOpen();
    return this.#queues.addMessage(message);
  }

  enqueue(number: SessionNumber, entry: QueueEntry): void {
    this.#appending();
    this.#queues.enqueue(number, entry);
  }

  markSent(number: SessionNumber, position: number, packetId: number): void {
    this.#appending();
    this.#queues.markSent(number, position, packetId);
  }

  markReleased(number: SessionNumber, position: number): void {
    this.#appending();
    this.#queues.markReleased(number, position);
  }

  dequeue(number: SessionNumber, position: number): void {
    this.#appending();
    this.#queues.dequeue(number, position);
  }

  putRetained(message: StoredMessage): void {
    this.#appending();
    this.#beginText(Kind.retained, message.topic);
    this.#writer.value();
    writeMessage(this.#writer, message);
    this.#writer.put();
  }

  deleteRetained(topic: string): void {
    this.#appending();
    this.#beginText(Kind.retained, topic);
    this.#writer.delete();
  }

  putWill(number: SessionNumber, will: StoredWill): void {
    this.#appending();
    checkNumber("session number", number);
    this.#seen(number);
    this.#beginNumbered(Kind.will, number);
    this.#writer.value();
    writeWill(this.#writer, will);
    this.#writer.put();
  }

  deleteWill(number: SessionNumber): void {
    this.#appending();
    this.#beginNumbered(Kind.will, number);
    this.#writer.delete();
  }

  putAccepted(accepted: AcceptedState): void {
    this.#appending();
    this.#beginText(Kind.accepted, accepted.sender);
    this.#writer.value();
    writeAccepted(this.#writer, accepted);
    this.#writer.put();
  }

  deleteAccepted(sender: string): void {
    this.#appending();
    this.#beginText(Kind.accepted, sender);
    this.#writer.delete();
  }

  readQueue(
    number: SessionNumber,
    range: { readonly fromPosition: number; readonly countMax: number; readonly bytesMax: number },
  ): LoadedQueueEntry[] {
    this.#checkOpen();
    return this.#queues.read(number, range);
  }

  commit(done: (error: Error | undefined) => void): void {
    this.#checkOpen();
    if (!this.#sweptSinceWrite) this.#sweep();
    this.#closeGroup();
    this.#queues.endBodies();
    this.#dirty = false;
    this.#pipeline.commit(done);
  }

  /**
   * Writes what is committed at this moment to one file, on a thread of its own, while the store goes on.
   * `restoreBackup` puts it back. `onProgress` counts rows.
   * @throws {StoreBackupError}
   */
  async backup(file: string, onProgress?: Progress): Promise<void> {
    this.#checkOpen();
    const backup = writeBackup(
      { dataFile: this.#parts.file, target: file, madeAtMs: Date.now() },
      onProgress,
    );
    this.#backups.add(backup);
    try {
      await backup;
    } finally {
      this.#backups.delete(backup);
    }
  }

  /** @throws {StoreFullError | StoreWriteError} when what was open could not be written; the files are let go of. */
  close(): Promise<void> {
    this.#closing ??= this.#close(true);
    return this.#closing;
  }

  /** Lets go of the files with nothing written but what is being written already, as a crash would. For tests. */
  abandon(): Promise<void> {
    this.#closing ??= this.#close(false);
    return this.#closing;
  }

  async #close(commit: boolean): Promise<void> {
    let error: Error | undefined;
    if (commit) {
      error = await new Promise<Error | undefined>((resolve) => {
        this.#closeGroup();
        this.#pipeline.commit(resolve);
      });
    }
    await this.#pipeline.halt();
    await Promise.allSettled(this.#backups);
    await this.#parts.writer.close();
    await this.#reader.close();
    this.#parts.unlock();
    if (error !== undefined) throw error;
  }

  #settled(groups: readonly ClosedGroup[]): void {
    this.#reader.refresh();
    for (const group of groups) this.#queues.settle(group);
    this.#sweptSinceWrite = false;
    this.#sweepWhenIdle();
  }

  /** Goes on with deleted sessions when no commit comes that could take a slice along. */
  #sweepWhenIdle(): void {
    const isIdle = !this.#dirty && !this.#queues.hasFreshBodies && this.#pipeline.isSettled;
    if (!isIdle || this.#sweeper.isDone || this.#closing !== undefined) return;
    this.#sweep();
    this.#closeGroup();
    this.#pipeline.launch();
  }

  #sweep(): void {
    this.#sweptSinceWrite = true;
    this.#sweeper.sweep(this.#pipeline.settledGroup);
  }

  #closeGroup(): void {
    if (this.#nextSessionNumber !== this.#writtenSessionNumber) {
      this.#writtenSessionNumber = this.#nextSessionNumber;
      this.#writer.begin(Kind.sessionNumber);
      this.#writer.value();
      this.#writer.varint(this.#nextSessionNumber);
      this.#writer.put();
    }
    const closed = this.#queues.closeGroup();
    if (closed !== undefined) this.#pipeline.add(closed);
  }

  #cursor(kind: number): RowCursor {
    return new RowCursor(this.#reader.range(kindKey(kind), kindKey(kind + 1)));
  }

  #beginNumbered(kind: number, number: SessionNumber): void {
    this.#writer.begin(kind);
    this.#writer.sortedU48(number);
  }

  #beginText(kind: number, text: string): void {
    this.#writer.begin(kind);
    this.#writer.raw(textKey(text));
  }

  #checkSession(number: SessionNumber): void {
    if (this.#queues.counters(number) === undefined)
      throw new RangeError(`session ${number} is not in the store`);
  }

  #checkOpen(): void {
    assert(this.#closing === undefined, "the session store is closed");
  }

  #appending(): void {
    this.#checkOpen();
    this.#dirty = true;
  }

  #seen(number: SessionNumber): void {
    if (number >= this.#nextSessionNumber) this.#nextSessionNumber = number + 1;
  }
}
