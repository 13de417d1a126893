import type { MessageNumber, StoredMessage } from "@postern/core/session-store";

import type { PacketMemory } from "./packet-memory.ts";

/** A larger payload is passed on by reference instead of being copied. */
const copiedBytesMax = 8_192;

/** A message inside the broker: what the store keeps, plus what makes passing it on cheap. */
export class Message implements StoredMessage {
  readonly topic: string;
  readonly topicBytes: Uint8Array;
  payload: Uint8Array;
  readonly qos: 0 | 1 | 2;
  readonly properties: Uint8Array;
  readonly publishedAtMs: number;
  readonly expiresAtMs: number;
  readonly publisher: string;
  /** Only for connections that nobody else reads. */
  confidential = false;
  /** Its number in the store, and the commit group in which it holds. */
  number: MessageNumber = 0;
  group = 0;
  /** Of a retained message: whether its publisher may leave it, and by which version of the permissions. */
  mayStay = false;
  mayStayVersion = 0;
  /** Wall clock, ms, since when its publisher may not; `undefined` while it may. */
  unpermittedSinceMs: number | undefined = undefined;
  /** The payload is in memory that other packets come to: it must be copied, or its memory kept, before it is kept beyond this call. */
  #borrowed: boolean;
  /** Behind a payload that is borrowed, where it may be held. */
  memory: PacketMemory | undefined;

  constructor(stored: StoredMessage, topicBytes: Uint8Array, borrowed: boolean, memory?: PacketMemory) {
    this.topic = stored.topic;
    this.topicBytes = topicBytes;
    this.payload = stored.payload;
    this.qos = stored.qos;
    this.properties = stored.properties;
    this.publishedAtMs = stored.publishedAtMs;
    this.expiresAtMs = stored.expiresAtMs;
    this.publisher = stored.publisher;
    this.#borrowed = borrowed;
    this.memory = memory;
  }

  static load(stored: StoredMessage): Message {
    return new Message(stored, Buffer.from(stored.topic), false);
  }

  /** Payload, topic and properties: what a queue counts. */
  get bytes(): number {
    return this.payload.length + this.topicBytes.length + this.properties.length;
  }

  /** The payload is large, and in memory that stays for as long as it takes to send it. */
  get passesByReference(): boolean {
    return this.payload.length > copiedBytesMax && (!this.#borrowed || this.#fillsMemory);
  }

  /** There is memory to be held, and little more of it than the payload counts for: limits are about what is counted. */
  get #fillsMemory(): boolean {
    return this.memory !== undefined && this.payload.length * 2 > this.memory.bytes.length;
  }

  /** Copies the payload out of the memory it came in, or keeps that where it is little more than it counts for. */
  detach(): void {
    if (!this.#borrowed) return;
    if (this.passesByReference) this.memory?.keep();
    else this.payload = Buffer.from(this.payload);
    this.#borrowed = false;
    this.memory = undefined;
  }

  /** As `detach`, for what is kept for long: in memory of its own, not in a slice of a pool that it would keep alive. */
  settle(): void {
    const own = Buffer.allocUnsafeSlow(this.payload.length);
    own.set(this.payload);
    this.payload = own;
    this.#borrowed = false;
    this.memory = undefined;
  }

  hasExpired(nowMs: number): boolean {
    return this.expiresAtMs <= nowMs;
  }

  /** Seconds left of the message expiry interval; `undefined` when it does not expire. @see MQTT 5.0 §3.3.2.3.3 */
  secondsLeft(nowMs: number): number | undefined {
    if (this.expiresAtMs === Infinity) return undefined;
    return Math.max(0, Math.ceil((this.expiresAtMs - nowMs) / 1_000));
  }
}
