import type { Delivery } from "./delivery.ts";

/** The answer to an acknowledgement: `unknown` when no such packet id is in flight in the right state. */
export type AckResult = "ok" | "unknown";

/**
 * The QoS 1 and 2 messages on their way to one session: what is in flight and what waits for its turn.
 * One implementation lives in memory and ends with the connection; the other is kept in the store.
 */
export interface Outbox {
  /** Messages that wait, not counting those in flight. */
  readonly waitingCount: number;
  readonly waitingBytes: number;
  readonly inFlightCount: number;
  /** Sends the message now if the window and the connection have room, otherwise lets it wait. */
  push(delivery: Delivery): void;
  /** Sends what waits as far as there is room. */
  pump(): void;
  /** Sends again what was in flight when the last connection broke. @see MQTT 5.0 §4.4 */
  resume(): void;
  /** The connection is gone: keeps what the next one needs. */
  suspend(): void;
  puback(packetId: number): AckResult;
  /** On success the message body is let go and PUBREL is due. */
  pubrec(packetId: number): AckResult;
  /** PUBREC with an error: the message is given up. @see MQTT 5.0 §4.3.3 */
  pubrecRefused(packetId: number): AckResult;
  pubcomp(packetId: number): AckResult;
  /**
   * Removes everything; returns what another member of a shared subscription may take over. The session's
   * subscriptions are no longer in the topic tree, but still known to it.
   */
  clear(): readonly Delivery[];
}
