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
import { MemorySessionStore } from "@postern/store/memory-session-store";

type Done = (error: Error | undefined) => void;
type Append = (store: SessionStore) => void;

interface Group {
  readonly appends: readonly Append[];
  /** `undefined` once it was called with an error: then the group waits for a later commit to take it along. */
  done: Done | undefined;
}

/**
 * A session store in memory with its disk in the test's hand: a commit is done when the test says so, fails when it
 * says so, and `afterCrash` gives the store that a crash would leave: what is done, and nothing else.
 */
export class ControlledStore implements SessionStore {
  /** What the broker sees: all appends. */
  readonly #live = new MemorySessionStore();
  /** The groups on disk, in order. */
  readonly #disk: (readonly Append[])[];
  #open: Append[] = [];
  /** Committed groups that are not on disk, in order. */
  #pending: Group[] = [];
  #holding = false;
  #failure: Error | undefined;

  /** @param disk Groups that were written before. */
  constructor(disk: readonly (readonly Append[])[] = []) {
    this.#disk = [...disk];
    for (const group of disk) {
      for (const append of group) append(this.#live);
      this.#live.commit(() => {});
    }
  }

  /** Commits that are neither done nor failed. */
  get waitingCount(): number {
    return this.#pending.filter(({ done }) => done !== undefined).length;
  }

  /** A store as a crash at this moment would leave it. */
  afterCrash(): ControlledStore {
    return new ControlledStore(this.#disk);
  }

  /** From now on commits wait until they are released. */
  hold(): void {
    this.#holding = true;
  }

  /** The first `count` of the groups that wait are on disk now. */
  release(count: number): void {
    for (const { appends, done } of this.#pending.splice(0, count)) {
      this.#disk.push(appends);
      done?.(undefined);
    }
  }

  /** All that waits is on disk now; later commits need no release. */
  releaseAll(): void {
    this.#holding = false;
    this.release(this.#pending.length);
  }

  /** What waits has failed, and every commit will until `mend`. */
  fail(error: Error): void {
    this.#failure = error;
    this.#holding = false;
    for (const group of this.#pending) {
      const { done } = group;
      group.done = undefined;
      done?.(error);
    }
  }

  /** Commits succeed again: the next takes along what failed. */
  mend(): void {
    this.#failure = undefined;
  }

  get dirty(): boolean {
    return this.#live.dirty;
  }

  commit(done: Done): void {
    this.#live.commit(() => {});
    const group: Group = { appends: this.#open, done };
    this.#open = [];
    this.#pending.push(group);
    queueMicrotask(() => {
      if (this.#failure !== undefined) this.fail(this.#failure);
      else if (!this.#holding) this.release(this.#pending.indexOf(group) + 1);
    });
  }

  close(): Promise<void> {
    this.releaseAll();
    return this.#live.close();
  }

  loadSessions(): Iterable<LoadedSession> {
    return this.#live.loadSessions();
  }

  loadRetained(): Iterable<StoredMessage> {
    return this.#live.loadRetained();
  }

  loadWills(): Iterable<{ readonly number: SessionNumber; readonly will: StoredWill }> {
    return this.#live.loadWills();
  }

  loadAccepted(): Iterable<AcceptedState> {
    return this.#live.loadAccepted();
  }

  nextSessionNumber(): SessionNumber {
    return this.#live.nextSessionNumber();
  }

  readQueue(
    number: SessionNumber,
    range: { readonly fromPosition: number; readonly countMax: number; readonly bytesMax: number },
  ): LoadedQueueEntry[] {
    return this.#live.readQueue(number, range);
  }

  putSession(number: SessionNumber, session: StoredSession): void {
    this.#append((store) => store.putSession(number, session));
  }

  deleteSession(number: SessionNumber): void {
    this.#append((store) => store.deleteSession(number));
  }

  putSubscription(number: SessionNumber, filter: string, subscription: StoredSubscription): void {
    this.#append((store) => store.putSubscription(number, filter, subscription));
  }

  deleteSubscription(number: SessionNumber, filter: string): void {
    this.#append((store) => store.deleteSubscription(number, filter));
  }

  putInbound(number: SessionNumber, packetId: number): void {
    this.#append((store) => store.putInbound(number, packetId));
  }

  deleteInbound(number: SessionNumber, packetId: number): void {
    this.#append((store) => store.deleteInbound(number, packetId));
  }

  addMessage(message: StoredMessage): MessageNumber {
    // Replayed in the same order, the message gets the same number.
    this.#open.push((store) => void store.addMessage(message));
    return this.#live.addMessage(message);
  }

  enqueue(number: SessionNumber, entry: QueueEntry): void {
    this.#append((store) => store.enqueue(number, entry));
  }

  markSent(number: SessionNumber, position: number, packetId: number): void {
    this.#append((store) => store.markSent(number, position, packetId));
  }

  markReleased(number: SessionNumber, position: number): void {
    this.#append((store) => store.markReleased(number, position));
  }

  dequeue(number: SessionNumber, position: number): void {
    this.#append((store) => store.dequeue(number, position));
  }

  putRetained(message: StoredMessage): void {
    this.#append((store) => store.putRetained(message));
  }

  deleteRetained(topic: string): void {
    this.#append((store) => store.deleteRetained(topic));
  }

  putWill(number: SessionNumber, will: StoredWill): void {
    this.#append((store) => store.putWill(number, will));
  }

  deleteWill(number: SessionNumber): void {
    this.#append((store) => store.deleteWill(number));
  }

  putAccepted(accepted: AcceptedState): void {
    this.#append((store) => store.putAccepted(accepted));
  }

  deleteAccepted(sender: string): void {
    this.#append((store) => store.deleteAccepted(sender));
  }

  #append(append: Append): void {
    append(this.#live);
    this.#open.push(append);
  }
}
