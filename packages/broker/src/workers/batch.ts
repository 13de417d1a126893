import { memoryOver } from "../memory-over.ts";
import { type MemoryPool, packetMemories, PacketMemory } from "../packet-memory.ts";
import { copyRanges, type Run, type Shelf } from "../shelf.ts";

/**
 * What a connection's thread and the first thread say to each other about connections: gathered in one piece of memory, which is
 * handed over to the other thread as it is. Nothing in it is copied on the way, and whoever has let go of it cannot change it. When the
 * other has read it, its memory comes back with what that has to say, and is used again: making it costs more than all else.
 *
 *     words:   kind | connection | value | bytes n | n bytes, filled up to whole words | kind | …
 *     bodies:  pieces of memory of their own, which a record names by its value
 */

/** From the thread that carries a connection. */
export const FromCarrier = {
  /** A connection was accepted: JSON of an `Arrival`. Value: the number of its listener. */
  arrived: 0,
  /** It has come as far as MQTT: JSON of an `Introduction`. */
  ready: 1,
  /** Bytes of the client, here or as a body. */
  data: 2,
  dataBody: 3,
  /** Its transport gathered so many bytes more of something that is not complete. */
  gathered: 4,
  /** The client will send no more. */
  end: 5,
  /** So many of the writes are done. */
  written: 6,
  /** Nothing more comes of its transport. */
  closed: 7,
  /** Its socket is gone. */
  gone: 8,
  /** What came last may have been a CONNECT: nothing more is read until that is known. */
  look: 9,
} as const;

/** To the thread that carries a connection. */
export const ToCarrier = {
  /** It may begin. */
  begin: 0,
  /** Its socket is to be destroyed. */
  cut: 1,
  /** Bytes for the client, here or as a body. */
  write: 2,
  writeBody: 3,
  pause: 4,
  resume: 5,
  /** Value: how long it may linger, in ms. */
  end: 6,
  /** What its client sent was looked at. Value: 1 while no CONNECT has come. */
  lookedAt: 7,
  /** The next writes, so many, belong together. */
  gather: 9,
  /** Bytes for the client that are parts of a body, of which starts and ends are given. */
  writeRun: 10,
  /** Of no connection: so many bytes more were taken in. */
  taken: 8,
} as const;

/** What is handed over: `words` up to `length`, and the bodies. */
export interface Handed {
  readonly words: Int32Array<ArrayBuffer>;
  readonly length: number;
  readonly bodies: readonly Uint8Array<ArrayBuffer>[];
}

const headerWords = 4;
/** A batch is handed over when it has grown to this, in words: 64 KB. */
const wordsMax = 16_384;
/** More bytes than these have a body of their own. */
export const inlineBytesMax = 65_536;
/**
 * … or when its bodies have. A connection's output is added whole before that of the next, and what many are sent is copied once for all
 * of them only as long as it is the same batch.
 */
const bodyBytesMax = 4_194_304;
/** Room for a batch that is nearly full and as much more as one record may bring. */
const batchBytes = wordsMax * 4 + headerWords * 4 + inlineBytesMax;

/** Memory that goes back by itself, not only with something that there is to say, when there are so many pieces of it. */
const returnsMax = 8;
const nothing = new Int32Array(0);
const noBytes = Buffer.alloc(0);
/** The same number in both directions. */
const bodyKind = FromCarrier.dataBody satisfies typeof ToCarrier.writeBody;

/** What of a shelf is in the body of this number. */
interface ShelfPart {
  readonly shelf: Shelf;
  readonly start: number;
  readonly end: number;
  readonly body: number;
}

/** A batch that is being filled. */
export class Batch {
  /** There is memory from the first record on. */
  #memory: PacketMemory | undefined = undefined;
  #words: Int32Array<ArrayBuffer> = nothing;
  #length = 0;
  #bodies: Uint8Array<ArrayBuffer>[] = [];
  #bodyOf: Map<Uint8Array, number> | undefined = undefined;
  #bodyBytes = 0;
  #part: ShelfPart | undefined = undefined;

  get isEmpty(): boolean {
    return this.#length === 0;
  }

  /** It should be handed over before more is added. */
  get isFull(): boolean {
    return this.#length >= wordsMax || this.#bodyBytes >= bodyBytesMax;
  }

  add(kind: number, connection: number, value: number): void {
    const at = this.#reserve(headerWords);
    this.#words[at] = kind;
    this.#words[at + 1] = connection;
    this.#words[at + 2] = value;
    this.#words[at + 3] = 0;
  }

  addBytes(kind: number, connection: number, value: number, bytes: Uint8Array): void {
    const at = this.#reserve(headerWords + ((bytes.length + 3) >> 2));
    this.#words[at] = kind;
    this.#words[at + 1] = connection;
    this.#words[at + 2] = value;
    this.#words[at + 3] = bytes.length;
    this.#memory?.bytes.set(bytes, (at + headerWords) * 4);
  }

  /** Copies `bytes` into a body of their own: once, for however many connections. There must be nothing else in them until this is handed over. */
  addBody(kind: number, connection: number, bytes: Uint8Array): void {
    this.#bodyOf ??= new Map();
    let index = this.#bodyOf.get(bytes);
    if (index === undefined) {
      index = this.#addBody(bytes);
      this.#bodyOf.set(bytes, index);
    }
    this.add(kind, connection, index);
  }

  /** Names parts of a shelf, which is copied into a body for all of this batch that name it. */
  addRun(kind: number, connection: number, { shelf, ranges }: Run): void {
    const part = this.#partOf(shelf, ranges);
    const count = ranges.length;
    const at = this.#reserve(headerWords + count);
    const words = this.#words;
    words[at] = kind;
    words[at + 1] = connection;
    words[at + 2] = part.body;
    words[at + 3] = count * 4;
    for (let index = 0; index < count; index += 1)
      words[at + headerWords + index] = (ranges[index] ?? 0) - part.start;
  }

  #partOf(shelf: Shelf, ranges: readonly number[]): ShelfPart {
    const known = this.#part;
    const [start = 0] = ranges;
    const end = ranges.at(-1) ?? 0;
    if (known?.shelf === shelf && start >= known.start && end <= known.end) return known;
    const body = this.#addBody(shelf.memory.bytes.subarray(start, shelf.length));
    const part = { shelf, start, end: shelf.length, body };
    this.#part = part;
    return part;
  }

  /** Takes what has gathered, and begins anew. */
  take(): Handed {
    const handed = { words: this.#words, length: this.#length, bodies: this.#bodies };
    this.#memory = undefined;
    this.#words = nothing;
    this.#length = 0;
    this.#bodies = [];
    this.#bodyOf = undefined;
    this.#bodyBytes = 0;
    this.#part = undefined;
    return handed;
  }

  #addBody(bytes: Uint8Array): number {
    const { length } = bytes;
    const body = packetMemories.take(length).bytes;
    body.set(bytes);
    this.#bodyBytes += length;
    return this.#bodies.push(new Uint8Array(body.buffer, 0, length)) - 1;
  }

  #reserve(words: number): number {
    const at = this.#length;
    const length = at + words;
    if (length > this.#words.length) this.#grow(length);
    this.#length = length;
    return at;
  }

  #grow(length: number): void {
    const old = this.#memory;
    const memory = packetMemories.take(Math.max(batchBytes, length * 4));
    const { buffer, byteLength } = memory.bytes;
    const words = new Int32Array(buffer, 0, byteLength >> 2);
    words.set(this.#words.subarray(0, this.#length));
    old?.release();
    this.#memory = memory;
    this.#words = words;
  }
}

/** Memory that came from the other thread and was read: it is to go back. */
export class Returns implements MemoryPool {
  #memory: ArrayBuffer[] = [];

  /** So much has gathered that it should go back now, whether there is something to say or not. */
  get areMany(): boolean {
    return this.#memory.length >= returnsMax;
  }

  give(bytes: Buffer<ArrayBuffer>): void {
    if (memoryOver.hasSubscribers) memoryOver.publish(bytes);
    this.#memory.push(bytes.buffer);
  }

  take(): ArrayBuffer[] {
    const memory = this.#memory;
    this.#memory = [];
    return memory;
  }
}

/** Takes memory in that the other thread has read. */
export function takeBack(returned: readonly ArrayBuffer[]): void {
  for (const memory of returned) packetMemories.give(Buffer.from(memory));
}

/** The memory that goes over with a batch. */
export function memoryOf({ words, bodies }: Handed): ArrayBuffer[] {
  return words === nothing ? [] : [words.buffer, ...bodies.map(({ buffer }) => buffer)];
}

/**
 * Calls `take` for each record. The bytes are there during the call, or for as long as `memory` is held; then their memory is given
 * to `returns`.
 */
export function readBatch(
  { words, length, bodies }: Handed,
  returns: MemoryPool,
  take: (kind: number, connection: number, value: number, bytes: Buffer, memory: PacketMemory) => void,
): void {
  if (length === 0) return;
  const memory = new PacketMemory(Buffer.from(words.buffer), returns);
  const bodyMemories = bodies.map(({ buffer }) => new PacketMemory(Buffer.from(buffer), returns));
  for (let at = 0; at < length;) {
    const kind = words[at] ?? 0;
    const connection = words[at + 1] ?? 0;
    const value = words[at + 2] ?? 0;
    const count = words[at + 3] ?? 0;
    at += headerWords;
    const body = kind === bodyKind || kind === ToCarrier.writeRun ? bodyMemories[value] : undefined;
    if (body === undefined)
      take(kind, connection, value, count > 0 ? Buffer.from(words.buffer, at * 4, count) : noBytes, memory);
    else if (kind === bodyKind)
      take(kind, connection, value, body.bytes.subarray(0, bodies[value]?.length), body);
    else if (count === 2 * 4)
      take(kind, connection, value, body.bytes.subarray(words[at], words[at + 1]), body);
    else {
      const own = joined(body.bytes, words.subarray(at, at + (count >> 2)));
      take(kind, connection, value, own.memory.bytes.subarray(0, own.length), own.memory);
      own.memory.release();
    }
    at += (count + 3) >> 2;
  }
  memory.release();
  for (const body of bodyMemories) body.release();
}

/** Parts of `source` one after the other, in memory of this thread. */
function joined(
  source: Buffer,
  ranges: Int32Array,
): { readonly memory: PacketMemory; readonly length: number } {
  let length = 0;
  for (let index = 0; index < ranges.length; index += 2)
    length += (ranges[index + 1] ?? 0) - (ranges[index] ?? 0);
  const memory = packetMemories.take(length);
  copyRanges(source, ranges, memory.bytes);
  return { memory, length };
}
