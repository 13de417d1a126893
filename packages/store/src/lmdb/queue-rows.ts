import type { MessageNumber, SessionNumber, StoredMessage } from "@postern/core/session-store";

import { rowDamage } from "../errors.ts";
import { NUMBER_MAX } from "../numbers.ts";
import type { LmdbReader } from "./database.ts";
import { keyPart, keyPosition, Kind, kindKey, numberKey, prefixEnd, queueKey, QueuePart } from "./keys.ts";
import { type EntryHead, type QueueCounters, readCounters, readEntryHead, readMessage } from "./records.ts";
import { RowReader } from "./row-reader.ts";

/** An entry as the database has it. */
export interface StoredEntry {
  readonly position: number;
  /** The newest of both rows. */
  readonly head: EntryHead;
  /** At the body, when the entry row has it. */
  readonly inlineBody: RowReader | undefined;
  readonly hasEntryRow: boolean;
  readonly hasDeliveryRow: boolean;
}

/** Queues as the database has them. */
export class QueueRows {
  readonly #reader: LmdbReader;

  constructor(reader: LmdbReader) {
    this.#reader = reader;
  }

  /** `undefined` for a session that is not in the database. */
  counters(session: SessionNumber): QueueCounters | undefined {
    if (this.#reader.get(numberKey(Kind.session, session)) === undefined) return undefined;
    const row = this.#read(numberKey(Kind.counters, session));
    return row === undefined ? emptyCounters() : readCounters(row);
  }

  /** How many entries share a body; 0 when it has no row. */
  bodyCount(messageNumber: MessageNumber): number {
    return this.#read(numberKey(Kind.bodyCount, messageNumber))?.varint() ?? 0;
  }

  /** No message number at or above it was ever given out. */
  messageNumberPromise(): MessageNumber {
    return this.#read(kindKey(Kind.messageNumber))?.u48() ?? 1;
  }

  /** A body that has a row of its own. @throws {StoreCorruptError} when it has none. */
  body(messageNumber: MessageNumber): StoredMessage {
    const row = this.#read(numberKey(Kind.body, messageNumber));
    if (row === undefined) throw rowDamage(`message ${messageNumber} is missing`);
    return readMessage(row);
  }

  /** One entry. Two look-ups cost half of what a range of two rows does. */
  find(session: SessionNumber, position: number): StoredEntry | undefined {
    const entryRow = this.#read(queueKey(session, position, QueuePart.entry));
    const deliveryRow = this.#read(queueKey(session, position, QueuePart.delivery));
    const entryHead = entryRow === undefined ? undefined : readEntryHead(entryRow);
    const head = deliveryRow === undefined ? entryHead : readEntryHead(deliveryRow);
    if (head === undefined) return undefined;
    return {
      position,
      head,
      inlineBody: entryHead?.inline === true ? entryRow : undefined,
      hasEntryRow: entryRow !== undefined,
      hasDeliveryRow: deliveryRow !== undefined,
    };
  }

  /** Entries in order, from one position up to but without another. */
  *entries(session: SessionNumber, from: number, end: number): Generator<StoredEntry, void> {
    let pending: StoredEntry | undefined;
    for (const { key, value } of this.#reader.range(queueKey(session, from, 0), endKey(session, end))) {
      const position = keyPosition(key);
      const reader = new RowReader(key, value);
      const head = readEntryHead(reader);
      if (keyPart(key) === QueuePart.entry) {
        if (pending !== undefined) yield pending;
        const inlineBody = head.inline ? reader : undefined;
        pending = { position, head, inlineBody, hasEntryRow: true, hasDeliveryRow: false };
      } else if (pending?.position === position) {
        yield { ...pending, head, hasDeliveryRow: true };
        pending = undefined;
      } else {
        if (pending !== undefined) yield pending;
        pending = undefined;
        yield { position, head, inlineBody: undefined, hasEntryRow: false, hasDeliveryRow: true };
      }
    }
    if (pending !== undefined) yield pending;
  }

  #read(key: Buffer): RowReader | undefined {
    const value = this.#reader.get(key);
    return value === undefined ? undefined : new RowReader(key, value);
  }
}

/** Of a session whose queue was never used. */
export function emptyCounters(): QueueCounters {
  return { queuedCount: 0, queuedBytes: 0, nextPosition: 1 };
}

/** The first key that is not of a position below `end`. */
function endKey(session: SessionNumber, end: number): Buffer {
  return end > NUMBER_MAX ? prefixEnd(numberKey(Kind.queue, session)) : queueKey(session, end, 0);
}
