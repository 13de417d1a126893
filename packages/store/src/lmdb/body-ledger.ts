import type { MessageNumber, StoredMessage } from "@postern/core/session-store";

import { Kind } from "./keys.ts";
import { writeMessage } from "./records.ts";
import type { RowWriter } from "./row-writer.ts";

interface Count {
  entries: number;
  group: number;
}

/**
 * Counts how many entries share each body that has a row of its own, and deletes the body with the last of them. The
 * count is a row too, written in the same group as the entries, so that no crash can leave a body without entries or
 * entries without a body.
 */
export class BodyLedger {
  readonly #readCount: (messageNumber: MessageNumber) => number;
  /** Counts that are newer here than in the database. */
  readonly #counts = new Map<MessageNumber, Count>();
  /** How many entries the open group took from each body. */
  readonly #released = new Map<MessageNumber, number>();

  /** `readCount` asks the database; 0 when it knows nothing of the body. */
  constructor(readCount: (messageNumber: MessageNumber) => number) {
    this.#readCount = readCount;
  }

  /** Writes a new body that `entries` entries share. */
  add(
    writer: RowWriter,
    body: StoredMessage,
    messageNumber: MessageNumber,
    entries: number,
    group: number,
  ): void {
    writer.begin(Kind.body);
    writer.sortedU48(messageNumber);
    writer.value();
    writeMessage(writer, body);
    writer.put();
    this.#write(writer, messageNumber, { entries, group });
  }

  /** An entry lets go of the body, as part of the open group. */
  release(messageNumber: MessageNumber): void {
    this.#released.set(messageNumber, (this.#released.get(messageNumber) ?? 0) + 1);
  }

  /** Writes what the open group released. @returns the bodies whose count changed, for `settle`. */
  closeGroup(writer: RowWriter, group: number): MessageNumber[] {
    const touched: MessageNumber[] = [];
    for (const [messageNumber, released] of this.#released) {
      const before = this.#counts.get(messageNumber)?.entries ?? this.#readCount(messageNumber);
      this.#write(writer, messageNumber, { entries: Math.max(0, before - released), group });
      touched.push(messageNumber);
    }
    this.#released.clear();
    return touched;
  }

  /** `group` and all before it are on disk; `touched` are the bodies whose counts they changed. */
  settle(touched: readonly MessageNumber[], group: number): void {
    for (const messageNumber of touched) {
      const count = this.#counts.get(messageNumber);
      if (count !== undefined && count.group <= group) this.#counts.delete(messageNumber);
    }
  }

  #write(writer: RowWriter, messageNumber: MessageNumber, count: Count): void {
    this.#counts.set(messageNumber, count);
    writer.begin(Kind.bodyCount);
    writer.sortedU48(messageNumber);
    if (count.entries > 0) {
      writer.value();
      writer.varint(count.entries);
      writer.put();
      return;
    }
    writer.delete();
    writer.begin(Kind.body);
    writer.sortedU48(messageNumber);
    writer.delete();
  }
}
