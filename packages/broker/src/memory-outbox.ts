import type { BrokerContext } from "./context.ts";
import type { Delivery } from "./delivery.ts";
import type { AckResult, Outbox } from "./outbox.ts";
import { InFlight, PacketWindow } from "./packet-window.ts";
import { hasShare } from "./queue-share.ts";
import type { Session } from "./session.ts";

const nothing: readonly Delivery[] = [];

/** The outbox of a session that ends with its connection. */
export class MemoryOutbox implements Outbox {
  readonly #context: BrokerContext;
  readonly #session: Session;
  #window = new PacketWindow();
  /** Waiting deliveries; those before `#head` are gone. */
  #waiting: Delivery[] = [];
  #head = 0;
  waitingBytes = 0;
  /** QoS 1 deliveries in flight that came by a shared subscription, by packet id. */
  #shared: Map<number, Delivery> | undefined;

  constructor(context: BrokerContext, session: Session) {
    this.#context = context;
    this.#session = session;
  }

  get waitingCount(): number {
    return this.#waiting.length - this.#head;
  }

  get inFlightCount(): number {
    return this.#window.count;
  }

  push(delivery: Delivery): void {
    if (this.waitingCount === 0 && this.#hasRoom()) this.#send(delivery);
    else this.#wait(delivery);
  }

  pump(): void {
    while (this.waitingCount > 0 && this.#hasRoom()) {
      const delivery = this.#shift();
      if (delivery === undefined) return;
      const { message } = delivery;
      const { memory } = message;
      if (message.hasExpired(this.#context.nowMs)) this.#context.stats.messagesExpired += 1;
      else if (this.#session.mayReceive(message.topic)) this.#send(delivery);
      memory?.release();
    }
  }

  // Nothing of it outlives the connection.
  resume(): void {}
  suspend(): void {}

  puback(packetId: number): AckResult {
    return this.#finish(packetId, InFlight.puback);
  }

  pubrec(packetId: number): AckResult {
    // A repeated PUBREC is answered with PUBREL again.
    const state = this.#window.stateOf(packetId);
    if (state !== InFlight.pubrec && state !== InFlight.pubcomp) return "unknown";
    this.#window.setState(packetId, InFlight.pubcomp);
    return "ok";
  }

  pubrecRefused(packetId: number): AckResult {
    return this.#finish(packetId, InFlight.pubrec);
  }

  pubcomp(packetId: number): AckResult {
    return this.#finish(packetId, InFlight.pubcomp);
  }

  clear(): readonly Delivery[] {
    if (this.#waiting.length === 0 && this.#window.count === 0) return nothing;
    const rest = [...(this.#shared?.values() ?? [])];
    for (const delivery of this.#waiting.slice(this.#head)) {
      if (delivery.group === undefined) delivery.message.memory?.release();
      else rest.push(delivery);
    }
    this.#countBytes(-this.waitingBytes);
    if (this.waitingCount > 0) this.#context.memoryQueuesWaiting -= 1;
    this.#waiting = [];
    this.#head = 0;
    this.#window = new PacketWindow();
    this.#shared = undefined;
    return rest;
  }

  #finish(packetId: number, state: InFlight): AckResult {
    if (this.#window.stateOf(packetId) !== state) return "unknown";
    this.#window.close(packetId);
    this.#shared?.delete(packetId);
    if (this.waitingCount > 0) this.pump();
    return "ok";
  }

  #hasRoom(): boolean {
    const { connection } = this.#session;
    return connection !== undefined && this.#window.count < connection.sendMaximum && connection.hasRoom;
  }

  #send(delivery: Delivery): void {
    const { connection } = this.#session;
    if (connection === undefined) return;
    const { qos, group } = delivery;
    const packetId = this.#window.open(qos === 1 ? InFlight.puback : InFlight.pubrec, 0, 0);
    if (!connection.sendPublish(delivery, packetId, false)) {
      // Too large for this client: it counts as delivered. @see MQTT 5.0 [MQTT-3.1.2-25]
      this.#window.close(packetId);
      return;
    }
    if (group !== undefined && qos === 1) {
      delivery.detach();
      this.#shared ??= new Map();
      this.#shared.set(packetId, delivery);
    }
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
    this.#keep(delivery);
    if (this.waitingCount === 0) this.#context.memoryQueuesWaiting += 1;
    this.#waiting.push(delivery);
    this.#countBytes(bytes);
  }

  #hasShare(bytes: number, before: number): boolean {
    const { queuedMemoryBytes, memoryQueuesWaiting, limits } = this.#context;
    const shares = {
      totalBytes: queuedMemoryBytes,
      totalBytesMax: limits.queuedMemoryBytesTotalMax,
      others: memoryQueuesWaiting - (this.waitingCount > 0 ? 1 : 0),
    };
    return hasShare(shares, { held: this.waitingBytes, before }, bytes);
  }

  /** Makes the delivery fit to wait: with the memory that its payload came in, to be released with it, or with a copy. */
  #keep(delivery: Delivery): void {
    const { message, group } = delivery;
    // Who takes over from a member that leaves does so at any time.
    if (group === undefined && message.passesByReference && message.memory !== undefined)
      message.memory.hold();
    else delivery.detach();
  }

  #dropOldest(): boolean {
    const delivery = this.#shift();
    delivery?.message.memory?.release();
    return delivery !== undefined;
  }

  #countBytes(bytes: number): void {
    this.waitingBytes += bytes;
    this.#session.usage.queuedBytes += bytes;
    this.#context.queuedMemoryBytes += bytes;
  }

  #shift(): Delivery | undefined {
    const delivery = this.#waiting[this.#head];
    if (delivery === undefined) return undefined;
    this.#head += 1;
    this.#countBytes(-delivery.message.bytes);
    if (this.waitingCount === 0) this.#context.memoryQueuesWaiting -= 1;
    // Give the array's front back now and then, at a cost of O(1) a message.
    if (this.#head > 1_024 && this.#head * 2 > this.#waiting.length) {
      this.#waiting = this.#waiting.slice(this.#head);
      this.#head = 0;
    } else if (this.#head === this.#waiting.length) {
      this.#waiting = [];
      this.#head = 0;
    }
    return delivery;
  }
}
