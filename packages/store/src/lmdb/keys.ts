import { hash } from "node:crypto";

/*
 * Every row lives in one tree; its key begins with its kind.
 *
 *   format              kind                               our mark and the format's version: always the first row
 *   sessionNumber       kind                               the next session number
 *   messageNumber       kind                               no message number at or above this was ever given out
 *   session             kind | session u48
 *   counters            kind | session u48                 what a session's queue holds, without walking it
 *   subscription        kind | session u48 | text          the filter
 *   inbound             kind | session u48 | packet id u16
 *   doomed              kind | session u48                 a deleted session whose rows are still being swept out
 *   queue               kind | session u48 | position u48 | part u8
 *   body                kind | message u48                 a message that several entries share, or a large one
 *   bodyCount           kind | message u48                 how many entries share it
 *   retained            kind | text                        the topic
 *   will                kind | session u48
 *   accepted            kind | text                        the sender of sealed messages
 *
 * A queue entry has up to two rows: `entry`, as it was enqueued (with its body or the number of it), never written
 * again; and `delivery`, its state and packet id once they changed. A released entry has the second only.
 */
export const Kind = {
  format: 0x01,
  sessionNumber: 0x02,
  messageNumber: 0x03,
  session: 0x10,
  counters: 0x11,
  subscription: 0x12,
  inbound: 0x13,
  doomed: 0x18,
  queue: 0x20,
  body: 0x30,
  bodyCount: 0x31,
  retained: 0x40,
  will: 0x50,
  accepted: 0x60,
} as const;

/** The kinds below this one hold what the store needs for itself: a store with no others is empty. */
export const FIRST_CONTENT_KIND = Kind.session;

export const QueuePart = { entry: 0, delivery: 1 } as const;

const SESSION_KEY_BYTES = 7;
const QUEUE_KEY_BYTES = 14;

/** LMDB's keys end at 1,978 bytes, a topic at 65,535: long text is known by its hash. The value has it in full. */
const PLAIN_TEXT_BYTES_MAX = 256;
/** Longer than what can follow a number, except for text, which begins with 0 or 1. */
const ABOVE_ALL = Buffer.alloc(8, 0xff);

const PLAIN_TEXT = 0;
const HASHED_TEXT = 1;

export function kindKey(kind: number): Buffer {
  return Buffer.of(kind);
}

/** The key of a session's, a message's or a will's row, or the prefix of a session's many. */
export function numberKey(kind: number, number: number): Buffer {
  const key = Buffer.allocUnsafe(SESSION_KEY_BYTES);
  key[0] = kind;
  key.writeUIntBE(number, 1, 6);
  return key;
}

export function queueKey(session: number, position: number, part: number): Buffer {
  const key = Buffer.allocUnsafe(QUEUE_KEY_BYTES);
  key[0] = Kind.queue;
  key.writeUIntBE(session, 1, 6);
  key.writeUIntBE(position, 7, 6);
  key[13] = part;
  return key;
}

/** Above every key that begins with `prefix`, for a prefix with a number in it. */
export function prefixEnd(prefix: Buffer): Buffer {
  return Buffer.concat([prefix, ABOVE_ALL]);
}

/** The text of a key: behind a kind, and a session where there is one. */
export function textKey(text: string): Buffer {
  if (Buffer.byteLength(text) > PLAIN_TEXT_BYTES_MAX) {
    return Buffer.concat([Buffer.of(HASHED_TEXT), hash("sha256", text, "buffer")]);
  }
  return Buffer.concat([Buffer.of(PLAIN_TEXT), Buffer.from(text)]);
}

export function keyNumber(key: Buffer): number {
  return key.readUIntBE(1, 6);
}

export function keyPosition(key: Buffer): number {
  return key.readUIntBE(SESSION_KEY_BYTES, 6);
}

export function keyPart(key: Buffer): number {
  return key.readUInt8(QUEUE_KEY_BYTES - 1);
}

export function keyPacketId(key: Buffer): number {
  return key.readUInt16BE(SESSION_KEY_BYTES);
}
