/**
 * The storage port: everything an MQTT broker must not lose. The broker keeps its working state in memory and
 * appends each change here; the store makes all changes of one event-loop turn durable together.
 *
 *   append, append, append … ──► commit(done) ──► one atomic, fsynced group ──► done()
 *
 * - Appends are synchronous, never fail for want of disk, and are visible to `readQueue` at once.
 * - A group is atomic: after a crash either all of its appends are there or none.
 * - Groups become durable in the order of their commits.
 * - A group that could not be written (a full disk, say) is kept and goes to disk with the next commit that can,
 *   so that what the broker holds in memory and what the store holds never part ways.
 *
 * Deleting or marking what is not there (any more) does nothing. Adding to a session that is not there, a position
 * that is not above all earlier ones, or a number out of range is the caller's mistake: `RangeError`.
 */

export type QoS = 0 | 1 | 2;

/** A message as an application published it, without what changes from hop to hop. Immutable. */
export interface StoredMessage {
  readonly topic: string;
  readonly payload: Uint8Array;
  /** The QoS it was published with. */
  readonly qos: QoS;
  /**
   * The MQTT 5 properties that a server must forward unaltered (payload format indicator, content type, response
   * topic, correlation data, user properties), encoded as on the wire without the length; empty for none.
   * @see MQTT 5.0 §3.3.2.3
   */
  readonly properties: Uint8Array;
  /** Wall clock, ms. */
  readonly publishedAtMs: number;
  /** Wall clock, ms, when the message expiry interval ends; `Infinity` for a message that does not expire. */
  readonly expiresAtMs: number;
  /** Who published it: the identity's name, for checks made again at delivery. */
  readonly publisher: string;
}

/** Names a session in the store: 1 to 2^48 - 1, given out by the broker from `nextSessionNumber()` on, never used twice. */
export type SessionNumber = number;

export interface StoredSession {
  readonly clientId: string;
  /** The identity that opened the session: nobody else may resume it. */
  readonly owner: string;
  /** 3 = MQTT 3.1, 4 = 3.1.1, 5 = 5.0: the version it was last used with. */
  readonly protocolVersion: 3 | 4 | 5;
  /** Seconds after the end of the connection; 0xFFFFFFFF never expires. */
  readonly expirySeconds: number;
  /** Wall clock, ms, of the end of the last connection; `null` while a connection is open (also after a crash). */
  readonly disconnectedAtMs: number | null;
}

/** A subscription's options. @see MQTT 5.0 §3.8.3.1 */
export interface StoredSubscription {
  readonly qos: QoS;
  readonly noLocal: boolean;
  readonly retainAsPublished: boolean;
  readonly retainHandling: 0 | 1 | 2;
  /** 1 to 268,435,455, or 0 for none. */
  readonly identifier: number;
}

/** A will that is to be published when its connection ends without DISCONNECT. */
export interface StoredWill {
  readonly clientId: string;
  readonly message: StoredMessage;
  readonly retain: boolean;
  readonly delaySeconds: number;
  /** Wall clock, ms, when it is to be published; `null` while the connection is open (also after a crash). */
  readonly dueAtMs: number | null;
}

/** Which sealed messages of one sender were accepted, in the form of whoever judges that. */
export interface AcceptedState {
  readonly sender: string;
  readonly state: Uint8Array;
}

/** What a queue entry waits for. `queued` has no packet id; `sent` and `released` have one. */
export const QueueState = {
  /** Not yet sent on this session. */
  queued: 0,
  /** PUBLISH sent, PUBACK or PUBREC outstanding. */
  sent: 1,
  /** PUBREC received, PUBREL sent, PUBCOMP outstanding. The body is no longer kept. */
  released: 2,
} as const;
export type QueueState = (typeof QueueState)[keyof typeof QueueState];

/** Names a message body within one store, given out by `addMessage`; never given out twice. */
export type MessageNumber = number;

/** One message on its way to one session. */
export interface QueueEntry {
  /** Place in the session's queue, 1 to 2^48 - 1: grows by at least one with every entry, across restarts. */
  readonly position: number;
  readonly messageNumber: MessageNumber;
  readonly state: QueueState;
  /** 1 to 65,535, or 0 while queued. */
  readonly packetId: number;
  /** The delivery's QoS (the lower of publication and subscription), 1 or 2. */
  readonly qos: 1 | 2;
  /** The RETAIN flag the subscriber is to see. */
  readonly retain: boolean;
  readonly subscriptionIdentifiers: readonly number[];
}

/** A queue entry with its body; `message` is `null` in state `released`. */
export interface LoadedQueueEntry extends QueueEntry {
  readonly message: StoredMessage | null;
}

export interface LoadedSession {
  readonly number: SessionNumber;
  readonly session: StoredSession;
  readonly subscriptions: ReadonlyMap<string, StoredSubscription>;
  /** Packet ids of inbound QoS 2 messages that were routed and not yet released. */
  readonly inboundPacketIds: readonly number[];
  /** Entries in state `queued` or `sent`: those whose message is still kept for this session. */
  readonly queuedCount: number;
  /** Sum of `messageBytes` over the same entries. */
  readonly queuedBytes: number;
  /** The lowest position the next entry may take: one above the highest ever taken, 1 in a new session. */
  readonly nextPosition: number;
}

export interface SessionStore {
  // What a start reads. Called once each, before any append.
  loadSessions(): Iterable<LoadedSession>;
  loadRetained(): Iterable<StoredMessage>;
  loadWills(): Iterable<{ readonly number: SessionNumber; readonly will: StoredWill }>;
  loadAccepted(): Iterable<AcceptedState>;
  /** One more than the highest session number ever given to this store. */
  nextSessionNumber(): SessionNumber;

  // Appends.
  putSession(number: SessionNumber, session: StoredSession): void;
  /** Forgets the session with its subscriptions, queue and inbound packet ids (not its will). */
  deleteSession(number: SessionNumber): void;
  putSubscription(number: SessionNumber, filter: string, subscription: StoredSubscription): void;
  deleteSubscription(number: SessionNumber, filter: string): void;
  putInbound(number: SessionNumber, packetId: number): void;
  deleteInbound(number: SessionNumber, packetId: number): void;
  /**
   * Takes a body in, so that entries can name it; kept as long as an entry in state `queued` or `sent` does, and
   * costs nothing when none ever did. New entries may name it until the next `commit`; to hand a loaded entry's
   * message to another session, add it again. The caller no longer changes the bytes.
   */
  addMessage(message: StoredMessage): MessageNumber;
  /** Adds an entry, in any state, at the end of the session's queue. `entry.position` is above all earlier ones. */
  enqueue(number: SessionNumber, entry: QueueEntry): void;
  /** `queued` → `sent` under this packet id. A released entry stays as it is. */
  markSent(number: SessionNumber, position: number, packetId: number): void;
  /** `sent` → `released`, under the same packet id; lets go of the body. */
  markReleased(number: SessionNumber, position: number): void;
  /** Removes the entry, whatever its state. */
  dequeue(number: SessionNumber, position: number): void;
  putRetained(message: StoredMessage): void;
  deleteRetained(topic: string): void;
  putWill(number: SessionNumber, will: StoredWill): void;
  deleteWill(number: SessionNumber): void;
  /** Replaces what is kept of that sender. */
  putAccepted(accepted: AcceptedState): void;
  deleteAccepted(sender: string): void;

  /**
   * Up to `countMax` entries in any state from `fromPosition` on, in order of position; fewer when their
   * `messageBytes` would exceed `bytesMax` (always at least one). Empty for a session that is not there.
   */
  readQueue(
    number: SessionNumber,
    range: { readonly fromPosition: number; readonly countMax: number; readonly bytesMax: number },
  ): LoadedQueueEntry[];

  /** Whether anything was appended since the last `commit`. */
  readonly dirty: boolean;
  /**
   * Closes the group; `done` is called once, never within this call, when it and all before it are on disk, or with
   * the error that prevented it. After an error the group is kept: it is on disk when a later commit is done without
   * one, and until then nothing in it may be acknowledged. A commit with nothing new in it tries again.
   */
  commit(done: (error: Error | undefined) => void): void;
  /** Commits what is open and lets go of the files. */
  close(): Promise<void>;
}

/** What a message counts for in `queuedBytes` and `bytesMax`: topic (as UTF-8), payload and property bytes. */
export function messageBytes(message: StoredMessage): number {
  return Buffer.byteLength(message.topic) + message.payload.length + message.properties.length;
}
