import type { MessageNumber, StoredMessage } from "@postern/core/session-store";

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
  /** The payload is a view of a network buffer: it must be copied before it is kept beyond this turn. */
  #borrowed: boolean;

  constructor(stored: StoredMessage, topicBytes: Uint8Array, borrowed: boolean) {
    this.topic = stored.topic;
    this.topicBytes = topicBytes;
    this.payload = stored.payload;
    this.qos = stored.qos;
    this.properties = stored.properties;
    this.publishedAtMs = stored.publishedAtMs;
    this.expiresAtMs = stored.expiresAtMs;
    this.publisher = stored.publisher;
    this.#borrowed = borrowed;
  }

  static load(stored: StoredMessage): Message {
    return new Message(stored, Buffer.from(stored.topic), false);
  }

  /** Payload, topic and properties: what a queue counts. */
  get bytes(): number {
    return this.payload.length + this.topicBytes.length + this.properties.length;
  }

  /** The payload is large, and keeping it keeps little more memory than it counts for. */
  get passesByReference(): boolean {
    const { length } = this.payload;
    // To ask a view for its buffer costs more than all else that is asked of a small message.
    return length > copiedBytesMax && length * 2 > this.payload.buffer.byteLength;
  }

  /** Copies the payload out of the network buffer it came in, so that a small message does not pin a large chunk. */
  detach(): void {
    if (!this.#borrowed) return;
    if (!this.passesByReference) this.payload = Buffer.from(this.payload);
    this.#borrowed = false;
  }

  /** As `detach`, for what is kept for long: in memory of its own, not in a slice of a pool that it would keep alive. */
  settle(): void {
    const own = Buffer.allocUnsafeSlow(this.payload.length);
    own.set(this.payload);
    this.payload = own;
    this.#borrowed = false;
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
