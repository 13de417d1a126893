import {
  type AcceptedState,
  type LoadedQueueEntry,
  type LoadedSession,
  type MessageNumber,
  type QueueEntry,
  QueueState,
  type SessionNumber,
  type StoredMessage,
  type StoredSession,
  type StoredSubscription,
  type StoredWill,
} from "@postern/core/session-store";

import { MemoryQueue } from "./memory-queue.ts";
import { checkNumber, checkPacketId } from "./numbers.ts";

interface SessionState {
  session: StoredSession;
  readonly subscriptions: Map<string, StoredSubscription>;
  readonly inbound: Set<number>;
  readonly queue: MemoryQueue;
}

/** What a store knows, as plain maps: the appends of `SessionStore` without groups or commits. */
export class MemoryState {
  nextMessageNumber: MessageNumber = 1;
  nextSessionNumber: SessionNumber = 1;
  readonly #sessions = new Map<SessionNumber, SessionState>();
  readonly #retained = new Map<string, StoredMessage>();
  readonly #wills = new Map<SessionNumber, StoredWill>();
  readonly #accepted = new Map<string, AcceptedState>();
  /** Bodies that new entries may name: those of the open group. */
  readonly #fresh = new Map<MessageNumber, StoredMessage>();

  endGroup(): void {
    this.#fresh.clear();
  }

  *sessions(): Iterable<LoadedSession> {
    for (const [number, { session, subscriptions, inbound, queue }] of this.#sessions) {
      yield {
        number,
        session,
        subscriptions: new Map(subscriptions),
        inboundPacketIds: [...inbound],
        queuedCount: queue.queuedCount,
        queuedBytes: queue.queuedBytes,
        nextPosition: queue.nextPosition,
      };
    }
  }

  retained(): Iterable<StoredMessage> {
    return this.#retained.values();
  }

  *wills(): Iterable<{ readonly number: SessionNumber; readonly will: StoredWill }> {
    for (const [number, will] of this.#wills) yield { number, will };
  }

  accepted(): Iterable<AcceptedState> {
    return this.#accepted.values();
  }

  /** Distinct bodies that entries hold. */
  bodyCount(): number {
    const bodies = new Set<StoredMessage>();
    for (const { queue } of this.#sessions.values())
      for (const message of queue.messages()) bodies.add(message);
    return bodies.size;
  }

  putSession(number: SessionNumber, session: StoredSession): void {
    checkNumber("session number", number);
    const known = this.#sessions.get(number);
    if (known === undefined) {
      const queue = new MemoryQueue();
      this.#sessions.set(number, { session, subscriptions: new Map(), inbound: new Set(), queue });
    } else {
      known.session = session;
    }
    this.#seen(number);
  }

  deleteSession(number: SessionNumber): void {
    this.#sessions.delete(number);
  }

  putSubscription(number: SessionNumber, filter: string, subscription: StoredSubscription): void {
    this.#session(number).subscriptions.set(filter, subscription);
  }

  deleteSubscription(number: SessionNumber, filter: string): void {
    this.#sessions.get(number)?.subscriptions.delete(filter);
  }

  putInbound(number: SessionNumber, packetId: number): void {
    checkPacketId(packetId);
    this.#session(number).inbound.add(packetId);
  }

  deleteInbound(number: SessionNumber, packetId: number): void {
    this.#sessions.get(number)?.inbound.delete(packetId);
  }

  addMessage(message: StoredMessage): MessageNumber {
    const messageNumber = this.nextMessageNumber;
    this.nextMessageNumber += 1;
    this.#fresh.set(messageNumber, message);
    return messageNumber;
  }

  enqueue(number: SessionNumber, entry: QueueEntry): void {
    const { queue } = this.#session(number);
    checkNumber("position", entry.position);
    checkPacketId(entry.packetId);
    if (entry.state === QueueState.released) {
      queue.enqueue(entry, null);
      return;
    }
    const message = this.#fresh.get(entry.messageNumber);
    if (message === undefined) {
      throw new RangeError(`message ${entry.messageNumber} was not added since the last commit`);
    }
    queue.enqueue(entry, message);
  }

  markSent(number: SessionNumber, position: number, packetId: number): void {
    this.#sessions.get(number)?.queue.markSent(position, packetId);
  }

  markReleased(number: SessionNumber, position: number): void {
    this.#sessions.get(number)?.queue.markReleased(position);
  }

  dequeue(number: SessionNumber, position: number): void {
    this.#sessions.get(number)?.queue.dequeue(position);
  }

  putRetained(message: StoredMessage): void {
    this.#retained.set(message.topic, message);
  }

  deleteRetained(topic: string): void {
    this.#retained.delete(topic);
  }

  putWill(number: SessionNumber, will: StoredWill): void {
    checkNumber("session number", number);
    this.#wills.set(number, will);
    this.#seen(number);
  }

  deleteWill(number: SessionNumber): void {
    this.#wills.delete(number);
  }

  putAccepted(accepted: AcceptedState): void {
    this.#accepted.set(accepted.sender, accepted);
  }

  deleteAccepted(sender: string): void {
    this.#accepted.delete(sender);
  }

  readQueue(
    number: SessionNumber,
    range: { readonly fromPosition: number; readonly countMax: number; readonly bytesMax: number },
  ): LoadedQueueEntry[] {
    const known = this.#sessions.get(number);
    return known === undefined ? [] : known.queue.read(range.fromPosition, range.countMax, range.bytesMax);
  }

  #session(number: SessionNumber): SessionState {
    const known = this.#sessions.get(number);
    if (known === undefined) throw new RangeError(`session ${number} is not in the store`);
    return known;
  }

  #seen(number: SessionNumber): void {
    if (number >= this.nextSessionNumber) this.nextSessionNumber = number + 1;
  }
}
