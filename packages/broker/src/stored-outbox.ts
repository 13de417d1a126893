import { matchesFilter } from "@postern/mqtt/topics";
import { type LoadedQueueEntry, type QoS, QueueState } from "@postern/core/session-store";

import type { BrokerContext } from "./context.ts";
import { Message } from "./message.ts";
import { Delivery } from "./delivery.ts";
import type { AckResult, Outbox } from "./outbox.ts";
import { InFlight, PacketWindow } from "./packet-window.ts";
import { hasShare } from "./queue-share.ts";
import type { Session } from "./session.ts";

const pageCountMax = 64;
const pageBytesMax = 262_144;
/** A session that ends with more than this for a shared subscription takes the rest with it. */
const handedOverMax = 10_000;
const noPage: readonly LoadedQueueEntry[] = [];

/**
 * The outbox of a session that outlives its connections. Every delivery is in the store before it is sent;
 * what waits is read back page by page, so that memory does not grow with the queue.
 *
 *     positions   ─── released, sent (in flight) ───│─── queued (waiting) ───►
 *                 ▲ after a reconnect the cursor    ▲ nextPosition
 *                   starts here and sends again
 */
export class StoredOutbox implements Outbox {
  readonly #context: BrokerContext;
  readonly #session: Session;
  #window = new PacketWindow();
  #nextPosition: number;
  /** Entries before it were sent on this connection, or were never on it. */
  #cursor = 0;
  #page = noPage;
  #pageIndex = 0;
  /** Entries to be sent, or to be sent again on this connection. */
  waitingCount: number;
  waitingBytes: number;

  constructor(
    context: BrokerContext,
    session: Session,
    loaded: { readonly nextPosition: number; readonly queuedCount: number; readonly queuedBytes: number },
  ) {
    this.#context = context;
    this.#session = session;
    this.#nextPosition = loaded.nextPosition;
    this.waitingCount = loaded.queuedCount;
    this.waitingBytes = loaded.queuedBytes;
    context.queuedCount += this.waitingCount;
    context.queuedBytes += this.waitingBytes;
    if (this.waitingCount > 0) context.queuesWaiting += 1;
    session.usage.queuedBytes += this.waitingBytes;
  }

  get inFlightCount(): number {
    return this.#window.count;
  }

  push(delivery: Delivery): void {
    if (this.waitingCount === 0 && this.#hasRoom()) this.#sendNew(delivery);
    else this.#wait(delivery);
  }

  pump(): void {
    while (this.waitingCount > 0 && this.#hasRoom()) {
      const entry = this.#peek();
      if (entry === undefined) {
        this.#forgetWaiting();
        return;
      }
      this.#advance(entry);
      if (entry.message === null) continue;
      const message = Message.load(entry.message);
      this.#count(-1, -message.bytes);
      if (entry.state === QueueState.sent) this.#sendAgain(entry, message);
      else this.#sendQueued(entry, message);
    }
  }

  resume(): void {
    this.#window = new PacketWindow();
    this.#moveCursor(0);
    this.#resendPubrels();
    this.pump();
  }

  /** Gives back what only an open connection needs. */
  suspend(): void {
    const { count, bytes } = this.#window.unacknowledged();
    this.#count(count, bytes);
    this.#page = noPage;
    this.#pageIndex = 0;
    this.#window = new PacketWindow();
  }

  puback(packetId: number): AckResult {
    return this.#finish(packetId, InFlight.puback);
  }

  pubrec(packetId: number): AckResult {
    const state = this.#window.stateOf(packetId);
    if (state !== InFlight.pubrec && state !== InFlight.pubcomp) return "unknown";
    if (state === InFlight.pubrec) {
      this.#context.ports.store.markReleased(this.#session.number, this.#window.positionOf(packetId));
      this.#context.line.touch();
      this.#window.setState(packetId, InFlight.pubcomp);
    }
    // PUBREL before the commit could make the client forget an id that a crash would have us send again.
    this.#session.connection?.hold();
    return "ok";
  }

  pubrecRefused(packetId: number): AckResult {
    return this.#finish(packetId, InFlight.pubrec);
  }

  pubcomp(packetId: number): AckResult {
    return this.#finish(packetId, InFlight.pubcomp);
  }

  clear(): readonly Delivery[] {
    const handedOver = this.#handOver();
    // In flight counts as waiting from here on, and all that waits is forgotten.
    this.suspend();
    this.#forgetWaiting();
    return handedOver;
  }

  /**
   * What came by a shared subscription and was not delivered, for the members that stay. A QoS 2 message that was sent
   * once must go to nobody else. @see MQTT 5.0 §4.8.2 [MQTT-4.8.2-5]
   */
  #handOver(): readonly Delivery[] {
    const { tree } = this.#context.topics;
    const subscriptions = [...this.#session.subscriptions.values()];
    const own = subscriptions.filter(({ shareName }) => shareName === undefined);
    const groups = subscriptions.flatMap(({ filter, shareName }) => {
      const group = shareName === undefined ? undefined : tree.sharedGroup(filter, shareName);
      return group === undefined ? [] : [{ filter, group }];
    });
    if (groups.length === 0 || (this.waitingCount === 0 && this.#window.count === 0)) return [];
    const deliveries: Delivery[] = [];
    this.#moveCursor(0);
    for (let entry = this.#peek(); entry !== undefined; entry = this.#peek()) {
      this.#advance(entry);
      if (deliveries.length >= handedOverMax) break;
      const { message, state, qos } = entry;
      if (message === null || (state === QueueState.sent && qos === 2)) continue;
      const matches = ({ filter }: { readonly filter: string }): boolean =>
        matchesFilter(filter, message.topic);
      const shared = groups.find(matches);
      // What an ordinary subscription brought as well is nobody else's.
      if (shared === undefined || own.some(matches)) continue;
      const delivery = deliveryOf(entry, Message.load(message));
      delivery.group = shared.group;
      deliveries.push(delivery);
    }
    return deliveries;
  }

  #finish(packetId: number, state: InFlight): AckResult {
    if (this.#window.stateOf(packetId) !== state) return "unknown";
    this.#context.ports.store.dequeue(this.#session.number, this.#window.positionOf(packetId));
    this.#context.line.touch();
    this.#window.close(packetId);
    if (this.waitingCount > 0) this.pump();
    return "ok";
  }

  #hasRoom(): boolean {
    const { connection } = this.#session;
    return connection !== undefined && this.#window.count < connection.sendMaximum && connection.hasRoom;
  }

  #sendNew(delivery: Delivery): void {
    const { connection } = this.#session;
    if (connection === undefined) return;
    const { message, qos } = delivery;
    const position = this.#nextPosition;
    const packetId = this.#window.open(awaited(qos), position, message.bytes);
    if (!connection.sendPublish(delivery, packetId, false)) {
      // Too large for this client: it counts as delivered. @see MQTT 5.0 [MQTT-3.1.2-25]
      this.#window.close(packetId);
      return;
    }
    connection.hold();
    this.#nextPosition += 1;
    // Nothing waits: what a page still holds lies behind the cursor.
    this.#moveCursor(this.#nextPosition);
    this.#enqueue(delivery, position, QueueState.sent, packetId);
  }

  #wait(delivery: Delivery): void {
    const { limits, permissions } = this.#session;
    const { bytes } = delivery.message;
    const identityBytesMax = permissions.limits.queuedBytesMax ?? Infinity;
    const before = this.waitingBytes;
    const full = (): boolean =>
      this.waitingCount >= limits.queuedMessagesMax ||
      this.waitingBytes + bytes > limits.queuedBytesMax ||
      this.#session.usage.queuedBytes + bytes > identityBytesMax ||
      !this.#hasShare(bytes, before);
    while (full()) {
      this.#context.stats.queueDropped += 1;
      if (limits.queueFullPolicy === "drop-newest" || !this.#dropOldest()) return;
    }
    this.#enqueue(delivery, this.#nextPosition, QueueState.queued, 0);
    this.#nextPosition += 1;
    this.#count(1, bytes);
  }

  #hasShare(bytes: number, before: number): boolean {
    const { queuedBytes, queuesWaiting, limits } = this.#context;
    const shares = {
      totalBytes: queuedBytes,
      totalBytesMax: limits.queuedBytesTotalMax,
      others: queuesWaiting - (this.waitingCount > 0 ? 1 : 0),
    };
    return hasShare(shares, { held: this.waitingBytes, before }, bytes);
  }

  #enqueue(delivery: Delivery, position: number, state: QueueState, packetId: number): void {
    const { message, qos, retain, identifiers } = delivery;
    if (qos === 0) return;
    const { store } = this.#context.ports;
    const { line } = this.#context;
    // A body may be named only within the group it was added in.
    let bodyBytes = 0;
    if (message.group !== line.openGroup) {
      bodyBytes = message.bytes;
      message.detach();
      message.number = store.addMessage(message);
      message.group = line.openGroup;
    }
    store.enqueue(this.#session.number, {
      position,
      messageNumber: message.number,
      state,
      packetId,
      qos,
      retain,
      subscriptionIdentifiers: identifiers,
    });
    line.touch(bodyBytes);
  }

  #sendQueued(entry: LoadedQueueEntry, message: Message): void {
    const { connection } = this.#session;
    const { store } = this.#context.ports;
    const { position } = entry;
    this.#context.line.touch();
    if (message.hasExpired(this.#context.nowMs)) {
      this.#context.stats.messagesExpired += 1;
      store.dequeue(this.#session.number, position);
      return;
    }
    const packetId = this.#window.open(awaited(entry.qos), position, message.bytes);
    const sent =
      this.#session.mayReceive(message.topic) &&
      connection?.sendPublish(deliveryOf(entry, message), packetId, false) === true;
    if (sent) {
      connection.hold();
      store.markSent(this.#session.number, position, packetId);
    } else {
      this.#window.close(packetId);
      store.dequeue(this.#session.number, position);
    }
  }

  #sendAgain(entry: LoadedQueueEntry, message: Message): void {
    const { packetId, position, qos } = entry;
    const sent =
      this.#session.mayReceive(message.topic) &&
      this.#session.connection?.sendPublish(deliveryOf(entry, message), packetId, true) === true;
    if (sent) {
      this.#window.restore(packetId, awaited(qos), position, message.bytes);
    } else {
      this.#context.ports.store.dequeue(this.#session.number, position);
      this.#context.line.touch();
    }
  }

  /** PUBRELs go first, in the order of their PUBRECs as far as the queue knows it. @see MQTT 5.0 §4.4, §4.6 */
  #resendPubrels(): void {
    const { connection } = this.#session;
    for (;;) {
      const entry = this.#peek();
      if (entry === undefined || entry.state === QueueState.queued) break;
      this.#advance(entry);
      if (entry.state === QueueState.released) {
        this.#window.restore(entry.packetId, InFlight.pubcomp, entry.position, 0);
        connection?.sendPubrel(entry.packetId);
      }
    }
    this.#moveCursor(0);
  }

  #moveCursor(position: number): void {
    this.#cursor = position;
    this.#page = noPage;
    this.#pageIndex = 0;
  }

  /** The entry at the cursor, or `undefined` at the end of the queue. */
  #peek(): LoadedQueueEntry | undefined {
    const entry = this.#page[this.#pageIndex];
    if (entry !== undefined) return entry;
    this.#pageIndex = 0;
    this.#page = this.#context.ports.store.readQueue(this.#session.number, {
      fromPosition: this.#cursor,
      countMax: pageCountMax,
      bytesMax: pageBytesMax,
    });
    return this.#page[0];
  }

  #advance(entry: LoadedQueueEntry): void {
    this.#pageIndex += 1;
    this.#cursor = entry.position + 1;
  }

  /** Removes the entry that has waited longest; false when nothing waits. */
  #dropOldest(): boolean {
    // While the cursor is among the entries in flight (also: no connection yet), the oldest waiting one is behind them.
    let entry = this.#peek();
    while (entry !== undefined && entry.state !== QueueState.queued) {
      if (this.#session.connection !== undefined) return false;
      this.#advance(entry);
      entry = this.#peek();
    }
    if (entry === undefined || entry.message === null) return false;
    this.#advance(entry);
    this.#context.ports.store.dequeue(this.#session.number, entry.position);
    this.#count(-1, -Message.load(entry.message).bytes);
    return true;
  }

  #forgetWaiting(): void {
    this.#count(-this.waitingCount, -this.waitingBytes);
  }

  #count(messages: number, bytes: number): void {
    const waited = this.waitingCount > 0;
    this.waitingCount += messages;
    const waits = this.waitingCount > 0;
    if (waits !== waited) this.#context.queuesWaiting += waits ? 1 : -1;
    this.waitingBytes += bytes;
    this.#context.queuedCount += messages;
    this.#context.queuedBytes += bytes;
    this.#session.usage.queuedBytes += bytes;
  }
}

function awaited(qos: QoS): InFlight {
  return qos === 1 ? InFlight.puback : InFlight.pubrec;
}

function deliveryOf(entry: LoadedQueueEntry, message: Message): Delivery {
  return new Delivery(message, entry.qos, entry.retain, entry.subscriptionIdentifiers);
}
