import type { SessionNumber } from "@postern/core/session-store";

import type { LmdbReader } from "./database.ts";
import { keyNumber, keyPart, Kind, kindKey, numberKey, prefixEnd, QueuePart } from "./keys.ts";
import type { QueueTable } from "./queue-table.ts";
import type { RowWriter } from "./row-writer.ts";

/** What one slice takes away: about a millisecond of the event loop and of the writer. */
const ROWS_PER_SLICE = 512;

/** Looking for the rows of a session costs about as much as so many rows, even when it has none. */
const ROWS_PER_SESSION = 8;

const MANY_ROW_KINDS = [Kind.subscription, Kind.inbound, Kind.queue] as const;

interface Doom {
  /** The group that deleted the session: once it is on disk, no more rows of the session come. */
  readonly group: number;
  /** Where the next slice begins: what comes before was taken by slices that may not be on disk yet. */
  kindIndex: number;
  next: Buffer | undefined;
}

/**
 * Takes the rows of deleted sessions out of the database, a slice per commit, so that a queue of a million entries
 * neither holds up the event loop nor fills a transaction. A session whose rows are not all gone has a `doomed` row;
 * the next start goes on with it.
 */
export class SessionSweeper {
  readonly #reader: LmdbReader;
  readonly #writer: RowWriter;
  readonly #queues: QueueTable;
  readonly #doomed = new Map<SessionNumber, Doom>();

  constructor(reader: LmdbReader, writer: RowWriter, queues: QueueTable) {
    this.#reader = reader;
    this.#writer = writer;
    this.#queues = queues;
    for (const { key } of reader.range(kindKey(Kind.doomed), kindKey(Kind.doomed + 1))) {
      const session = keyNumber(key);
      queues.doom(session);
      this.#doomed.set(session, { group: 0, kindIndex: 0, next: undefined });
    }
  }

  get isDone(): boolean {
    return this.#doomed.size === 0;
  }

  /** The session is deleted by the open group, `group`. */
  add(session: SessionNumber, group: number): void {
    this.#writer.begin(Kind.doomed);
    this.#writer.sortedU48(session);
    this.#writer.value();
    this.#writer.put();
    this.#doomed.set(session, { group, kindIndex: 0, next: undefined });
  }

  /** Appends one slice of deletions to the open group, when there is something to sweep. `settledGroup` is on disk. */
  sweep(settledGroup: number): void {
    let rowsLeft = ROWS_PER_SLICE;
    for (const [session, doom] of this.#doomed) {
      if (doom.group > settledGroup) continue;
      rowsLeft -= ROWS_PER_SESSION;
      if (rowsLeft <= 0) return;
      const left = this.#sweepSession(session, doom, rowsLeft);
      if (left === undefined) return;
      rowsLeft = left;
      this.#writer.begin(Kind.doomed);
      this.#writer.sortedU48(session);
      this.#writer.delete();
      this.#doomed.delete(session);
      this.#queues.swept(session);
    }
  }

  /** @returns how many of `rowsLeft` are to spare when all rows are gone; `undefined` when there are more. */
  #sweepSession(session: SessionNumber, doom: Doom, rowsLeft: number): number | undefined {
    let left = rowsLeft;
    for (; doom.kindIndex < MANY_ROW_KINDS.length; doom.kindIndex += 1) {
      const kind = MANY_ROW_KINDS[doom.kindIndex] ?? Kind.queue;
      const prefix = numberKey(kind, session);
      for (const { key, value } of this.#reader.range(doom.next ?? prefix, prefixEnd(prefix))) {
        if (left === 0) {
          doom.next = key;
          return undefined;
        }
        left -= 1;
        if (kind === Kind.queue && keyPart(key) === QueuePart.entry) this.#queues.sweepEntry(key, value);
        this.#writer.deleteKey(key);
      }
      doom.next = undefined;
    }
    return left;
  }
}
