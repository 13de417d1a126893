import type {
  AcceptedState,
  QoS,
  QueueState,
  StoredMessage,
  StoredSession,
  StoredSubscription,
  StoredWill,
} from "@postern/core/session-store";

import { rowDamage } from "../errors.ts";
import type { RowReader } from "./row-reader.ts";
import type { RowWriter } from "./row-writer.ts";

/*
 * The fields of each value, between its version and its checksum. `write…` and `read…` stand in pairs; a new field
 * means a new VALUE_VERSION or a migration.
 */

export function writeMessage(writer: RowWriter, message: StoredMessage): void {
  writer.u8(message.qos);
  writer.f64(message.publishedAtMs);
  writer.f64(message.expiresAtMs);
  writer.text(message.topic);
  writer.text(message.publisher);
  writer.bytes(message.properties);
  writer.bytes(message.payload);
}

export function readMessage(reader: RowReader): StoredMessage {
  const qos = readQos(reader.u8());
  const publishedAtMs = reader.f64();
  const expiresAtMs = reader.f64();
  const topic = reader.text();
  const publisher = reader.text();
  const properties = reader.bytes();
  const payload = reader.bytes();
  return { topic, payload, qos, properties, publishedAtMs, expiresAtMs, publisher };
}

export function writeSession(writer: RowWriter, session: StoredSession): void {
  writer.u8(session.protocolVersion);
  writer.u32(session.expirySeconds);
  writeOptionalMs(writer, session.disconnectedAtMs);
  writer.text(session.clientId);
  writer.text(session.owner);
}

export function readSession(reader: RowReader): StoredSession {
  const protocolVersion = reader.u8();
  if (protocolVersion !== 3 && protocolVersion !== 4 && protocolVersion !== 5) {
    throw rowDamage(`a session of protocol version ${protocolVersion}`);
  }
  const expirySeconds = reader.u32();
  const disconnectedAtMs = readOptionalMs(reader);
  const clientId = reader.text();
  const owner = reader.text();
  return { clientId, owner, protocolVersion, expirySeconds, disconnectedAtMs };
}

const NO_LOCAL = 0x04;
const RETAIN_AS_PUBLISHED = 0x08;

/** The options byte is laid out as in SUBSCRIBE. @see MQTT 5.0 §3.8.3.1 */
export function writeSubscription(writer: RowWriter, filter: string, subscription: StoredSubscription): void {
  writer.u8(
    subscription.qos |
      (subscription.noLocal ? NO_LOCAL : 0) |
      (subscription.retainAsPublished ? RETAIN_AS_PUBLISHED : 0) |
      (subscription.retainHandling << 4),
  );
  writer.varint(subscription.identifier);
  writer.text(filter);
}

export function readSubscription(reader: RowReader): { filter: string; subscription: StoredSubscription } {
  const options = reader.u8();
  const identifier = reader.varint();
  const filter = reader.text();
  const subscription = {
    qos: readQos(options & 0x03),
    noLocal: (options & NO_LOCAL) !== 0,
    retainAsPublished: (options & RETAIN_AS_PUBLISHED) !== 0,
    // The same three values as a QoS.
    retainHandling: readQos(options >>> 4),
    identifier,
  };
  return { filter, subscription };
}

export function writeWill(writer: RowWriter, will: StoredWill): void {
  writer.u8(will.retain ? 1 : 0);
  writer.u32(will.delaySeconds);
  writeOptionalMs(writer, will.dueAtMs);
  writer.text(will.clientId);
  writeMessage(writer, will.message);
}

export function readWill(reader: RowReader): StoredWill {
  const retain = reader.u8() === 1;
  const delaySeconds = reader.u32();
  const dueAtMs = readOptionalMs(reader);
  const clientId = reader.text();
  const message = readMessage(reader);
  return { clientId, message, retain, delaySeconds, dueAtMs };
}

export function writeAccepted(writer: RowWriter, { sender, state }: AcceptedState): void {
  writer.text(sender);
  writer.bytes(state);
}

export function readAccepted(reader: RowReader): AcceptedState {
  return { sender: reader.text(), state: reader.bytes() };
}

/** What is known of a session's queue without walking it. */
export interface QueueCounters {
  queuedCount: number;
  queuedBytes: number;
  nextPosition: number;
}

export function writeCounters(writer: RowWriter, counters: QueueCounters): void {
  // May be 2^48, one more than fits in six bytes.
  writer.varint(counters.nextPosition);
  writer.varint(counters.queuedCount);
  writer.varint(counters.queuedBytes);
}

export function readCounters(reader: RowReader): QueueCounters {
  const nextPosition = reader.varint();
  const queuedCount = reader.varint();
  const queuedBytes = reader.varint();
  return { queuedCount, queuedBytes, nextPosition };
}

/** A queue entry without its place and its body. */
export interface EntryHead {
  state: QueueState;
  packetId: number;
  readonly qos: 1 | 2;
  readonly retain: boolean;
  readonly messageNumber: number;
  /** `messageBytes` of the body. */
  readonly bytes: number;
  readonly subscriptionIdentifiers: readonly number[];
  /** The body follows in the same row; otherwise it has a row of its own, unless the entry is released. */
  readonly inline: boolean;
}

const ENTRY_QOS_2 = 0x01;
const ENTRY_RETAIN = 0x02;
const ENTRY_INLINE = 0x04;
const ENTRY_STATE_SHIFT = 3;

export function writeEntryHead(writer: RowWriter, head: Omit<EntryHead, "inline">, inline: boolean): void {
  writer.u8(
    (head.qos === 2 ? ENTRY_QOS_2 : 0) |
      (head.retain ? ENTRY_RETAIN : 0) |
      (inline ? ENTRY_INLINE : 0) |
      (head.state << ENTRY_STATE_SHIFT),
  );
  writer.u16(head.packetId);
  writer.u48(head.messageNumber);
  writer.varint(head.bytes);
  writer.varint(head.subscriptionIdentifiers.length);
  for (const identifier of head.subscriptionIdentifiers) writer.varint(identifier);
}

const NO_IDENTIFIERS: readonly number[] = [];

export function readEntryHead(reader: RowReader): EntryHead {
  const flags = reader.u8();
  const packetId = reader.u16();
  const messageNumber = reader.u48();
  const bytes = reader.varint();
  const identifierCount = reader.varint();
  let subscriptionIdentifiers = NO_IDENTIFIERS;
  if (identifierCount > 0) {
    const identifiers: number[] = [];
    for (let index = 0; index < identifierCount; index += 1) identifiers.push(reader.varint());
    subscriptionIdentifiers = identifiers;
  }
  return {
    // The three states are numbered as the three QoS are.
    state: readQos(flags >>> ENTRY_STATE_SHIFT),
    packetId,
    qos: (flags & ENTRY_QOS_2) === 0 ? 1 : 2,
    retain: (flags & ENTRY_RETAIN) !== 0,
    messageNumber,
    bytes,
    subscriptionIdentifiers,
    inline: (flags & ENTRY_INLINE) !== 0,
  };
}

function readQos(value: number): QoS {
  if (value !== 0 && value !== 1 && value !== 2) throw rowDamage(`${value} where only 0, 1 and 2 are known`);
  return value;
}

/** `null` is written as not-a-number. */
function writeOptionalMs(writer: RowWriter, ms: number | null): void {
  writer.f64(ms ?? Number.NaN);
}

function readOptionalMs(reader: RowReader): number | null {
  const ms = reader.f64();
  return Number.isNaN(ms) ? null : ms;
}
