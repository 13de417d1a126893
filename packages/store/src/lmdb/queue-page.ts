import { type LoadedQueueEntry, QueueState, type StoredMessage } from "@postern/core/session-store";

import type { EntryHead } from "./records.ts";

/** What `readQueue` is asked for. */
export interface QueueRange {
  readonly fromPosition: number;
  readonly countMax: number;
  readonly bytesMax: number;
}

/** One page of a queue, as large as was asked for. */
export class QueuePage {
  readonly entries: LoadedQueueEntry[] = [];
  readonly #range: QueueRange;
  #bytes = 0;

  constructor(range: QueueRange) {
    this.#range = range;
  }

  hasRoom(head: Omit<EntryHead, "inline">): boolean {
    const count = this.entries.length;
    if (count >= this.#range.countMax) return false;
    return count === 0 || this.#bytes + countedBytes(head) <= this.#range.bytesMax;
  }

  add(position: number, head: Omit<EntryHead, "inline">, message: StoredMessage | null): void {
    const { messageNumber, state, packetId, qos, retain, subscriptionIdentifiers } = head;
    this.#bytes += countedBytes(head);
    this.entries.push({
      position,
      messageNumber,
      state,
      packetId,
      qos,
      retain,
      subscriptionIdentifiers,
      message,
    });
  }
}

function countedBytes(head: Omit<EntryHead, "inline">): number {
  return head.state === QueueState.released ? 0 : head.bytes;
}
