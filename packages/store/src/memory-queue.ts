import {
  type LoadedQueueEntry,
  messageBytes,
  type QueueEntry,
  QueueState,
  type StoredMessage,
} from "@postern/core/session-store";

/** Dequeued entries are swept out when there are this many and they are more than half of all. */
const SWEEP_COUNT_MIN = 64;

interface Slot {
  entry: LoadedQueueEntry;
  bytes: number;
  gone: boolean;
}

/** One session's queue in memory: ordered by position, dequeued from anywhere in constant amortised time. */
export class MemoryQueue {
  queuedCount = 0;
  queuedBytes = 0;
  nextPosition = 1;
  #slots: Slot[] = [];
  #goneCount = 0;

  /** @throws {RangeError} when the position is not above all earlier ones. */
  enqueue(entry: QueueEntry, message: StoredMessage | null): void {
    if (entry.position < this.nextPosition) {
      throw new RangeError(
        `position ${entry.position} is below ${this.nextPosition}, the lowest that is free`,
      );
    }
    this.nextPosition = entry.position + 1;
    const bytes = message === null ? 0 : messageBytes(message);
    this.#slots.push({ entry: { ...entry, message }, bytes, gone: false });
    if (message !== null) this.#count(1, bytes);
  }

  markSent(position: number, packetId: number): void {
    const slot = this.#find(position);
    if (slot === undefined || slot.entry.state === QueueState.released) return;
    slot.entry = { ...slot.entry, state: QueueState.sent, packetId };
  }

  markReleased(position: number): void {
    const slot = this.#find(position);
    if (slot === undefined || slot.entry.message === null) return;
    this.#count(-1, -slot.bytes);
    slot.entry = { ...slot.entry, state: QueueState.released, message: null };
    slot.bytes = 0;
  }

  dequeue(position: number): void {
    const slot = this.#find(position);
    if (slot === undefined) return;
    if (slot.entry.message !== null) this.#count(-1, -slot.bytes);
    slot.gone = true;
    slot.entry = { ...slot.entry, message: null };
    this.#goneCount += 1;
    if (this.#goneCount >= SWEEP_COUNT_MIN && this.#goneCount * 2 > this.#slots.length) {
      this.#slots = this.#slots.filter((kept) => !kept.gone);
      this.#goneCount = 0;
    }
  }

  read(fromPosition: number, countMax: number, bytesMax: number): LoadedQueueEntry[] {
    const entries: LoadedQueueEntry[] = [];
    let bytes = 0;
    for (let index = this.#indexOf(fromPosition); index < this.#slots.length; index += 1) {
      const slot = this.#slots[index];
      if (slot === undefined || entries.length >= countMax) break;
      if (slot.gone) continue;
      bytes += slot.bytes;
      if (bytes > bytesMax && entries.length > 0) break;
      entries.push(slot.entry);
    }
    return entries;
  }

  /** The messages held; one that several entries name comes several times. */
  *messages(): Iterable<StoredMessage> {
    for (const slot of this.#slots) if (slot.entry.message !== null) yield slot.entry.message;
  }

  #count(count: number, bytes: number): void {
    this.queuedCount += count;
    this.queuedBytes += bytes;
  }

  #find(position: number): Slot | undefined {
    const slot = this.#slots[this.#indexOf(position)];
    return slot === undefined || slot.gone || slot.entry.position !== position ? undefined : slot;
  }

  /** The index of the first slot whose position is not below `position`. */
  #indexOf(position: number): number {
    let low = 0;
    let high = this.#slots.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if ((this.#slots[middle]?.entry.position ?? 0) < position) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}
