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

import { MemoryState } from "./memory-state.ts";

type Append = (state: MemoryState) => void;

export interface MemorySessionStoreOptions {
  /** Remembers every committed append, so that `afterCrash` works: for tests, since it never forgets. Default false. */
  readonly journal?: boolean;
}

/**
 * A session store that forgets everything with its process: for brokers without persistence and for tests. It holds
 * what is put into it and no more; a body that several sessions wait for is held once. `commit` is done in the
 * microtask after it, and never fails.
 */
export class MemorySessionStore implements SessionStore {
  readonly #state = new MemoryState();
  /** Committed appends, in order; `undefined` when no journal is kept. */
  readonly #journal: Append[] | undefined;
  #group: Append[] = [];
  #dirty = false;
  #closed = false;

  constructor(options: MemorySessionStoreOptions = {}) {
    this.#journal = options.journal === true ? [] : undefined;
  }

  get dirty(): boolean {
    return this.#dirty;
  }

  /** A store as a crash at this moment would leave it: with the groups that are done, and nothing else. */
  afterCrash(): MemorySessionStore {
    assert(this.#journal !== undefined, "this store keeps no journal");
    const successor = new MemorySessionStore({ journal: true });
    for (const append of this.#journal) {
      append(successor.#state);
      successor.#journal?.push(append);
    }
    successor.#state.endGroup();
    return successor;
  }

  /** Distinct message bodies held. Walks every entry: for tests. */
  bodyCount(): number {
    return this.#state.bodyCount();
  }

  loadSessions(): Iterable<LoadedSession> {
    return this.#state.sessions();
  }

  loadRetained(): Iterable<StoredMessage> {
    return this.#state.retained();
  }

  loadWills(): Iterable<{ readonly number: SessionNumber; readonly will: StoredWill }> {
    return this.#state.wills();
  }

  loadAccepted(): Iterable<AcceptedState> {
    return this.#state.accepted();
  }

  nextSessionNumber(): SessionNumber {
    return this.#state.nextSessionNumber;
  }

  putSession(number: SessionNumber, session: StoredSession): void {
    this.#append((state) => state.putSession(number, session));
  }

  deleteSession(number: SessionNumber): void {
    this.#append((state) => state.deleteSession(number));
  }

  putSubscription(number: SessionNumber, filter: string, subscription: StoredSubscription): void {
    this.#append((state) => state.putSubscription(number, filter, subscription));
  }

  deleteSubscription(number: SessionNumber, filter: string): void {
    this.#append((state) => state.deleteSubscription(number, filter));
  }

  putInbound(number: SessionNumber, packetId: number): void {
    this.#append((state) => state.putInbound(number, packetId));
  }

  deleteInbound(number: SessionNumber, packetId: number): void {
    this.#append((state) => state.deleteInbound(number, packetId));
  }

  addMessage(message: StoredMessage): MessageNumber {
    const messageNumber = this.#state.addMessage(message);
    // Nothing to write until an entry names it, so the group stays clean; a replay must give the same numbers.
    if (this.#journal !== undefined) this.#group.push((state) => state.addMessage(message));
    return messageNumber;
  }

  enqueue(number: SessionNumber, entry: QueueEntry): void {
    this.#append((state) => state.enqueue(number, entry));
  }

  markSent(number: SessionNumber, position: number, packetId: number): void {
    this.#append((state) => state.markSent(number, position, packetId));
  }

  markReleased(number: SessionNumber, position: number): void {
    this.#append((state) => state.markReleased(number, position));
  }

  dequeue(number: SessionNumber, position: number): void {
    this.#append((state) => state.dequeue(number, position));
  }

  putRetained(message: StoredMessage): void {
    this.#append((state) => state.putRetained(message));
  }

  deleteRetained(topic: string): void {
    this.#append((state) => state.deleteRetained(topic));
  }

  putWill(number: SessionNumber, will: StoredWill): void {
    this.#append((state) => state.putWill(number, will));
  }

  deleteWill(number: SessionNumber): void {
    this.#append((state) => state.deleteWill(number));
  }

  putAccepted(accepted: AcceptedState): void {
    this.#append((state) => state.putAccepted(accepted));
  }

  deleteAccepted(sender: string): void {
    this.#append((state) => state.deleteAccepted(sender));
  }

  readQueue(
    number: SessionNumber,
    range: { readonly fromPosition: number; readonly countMax: number; readonly bytesMax: number },
  ): LoadedQueueEntry[] {
    return this.#state.readQueue(number, range);
  }

  commit(done: (error: Error | undefined) => void): void {
    assert(!this.#closed, "the session store is closed");
    const group = this.#group;
    this.#group = [];
    this.#dirty = false;
    this.#state.endGroup();
    queueMicrotask(() => {
      // One by one: a spread would put a large group on the call stack.
      if (this.#journal !== undefined) for (const append of group) this.#journal.push(append);
      done(undefined);
    });
  }

  close(): Promise<void> {
    if (this.#closed) return Promise.resolve();
    const { promise, resolve } = Promise.withResolvers<undefined>();
    this.commit(() => resolve(undefined));
    this.#closed = true;
    return promise;
  }

  #append(append: Append): void {
    assert(!this.#closed, "the session store is closed");
    append(this.#state);
    if (this.#journal !== undefined) this.#group.push(append);
    this.#dirty = true;
  }
}
