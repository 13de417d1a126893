/**
 * What a connection's thread and the first thread say to each other about connections: gathered in one piece of memory, which is
 * handed over to the other thread as it is. Nothing in it is copied on the way, and whoever has let go of it cannot change it.
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
const wordsMin = 256;
/** A batch is handed over when it has grown to this, in words: 64 KB. */
const wordsMax = 16_384;

/** A batch that is being filled. */
export class Batch {
  #words = new Int32Array(wordsMin);
  #bytes = new Uint8Array(this.#words.buffer);
  #length = 0;
  #bodies: Uint8Array<ArrayBuffer>[] = [];
  #bodyOf: Map<Uint8Array, number> | undefined = undefined;
  #bodyBytes = 0;

  get isEmpty(): boolean {
    return this.#length === 0;
  }

  /** It should be handed over before more is added. */
  get isFull(): boolean {
    return this.#length >= wordsMax || this.#bodyBytes >= wordsMax * 4;
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
    this.#bytes.set(bytes, (at + headerWords) * 4);
  }

  /** Hands `body` over as it is: whoever adds it must not use it any more. */
  addOwnBody(kind: number, connection: number, body: Uint8Array<ArrayBuffer>): void {
    this.add(kind, connection, this.#bodies.push(body) - 1);
    this.#bodyBytes += body.length;
  }

  /** Copies `bytes` into a body of their own: once, for however many connections. They must not change. */
  addBody(kind: number, connection: number, bytes: Uint8Array): void {
    this.#bodyOf ??= new Map();
    let index = this.#bodyOf.get(bytes);
    if (index === undefined) {
      index = this.#bodies.push(new Uint8Array(bytes)) - 1;
      this.#bodyOf.set(bytes, index);
      this.#bodyBytes += bytes.length;
    }
    this.add(kind, connection, index);
  }

  /** Takes what has gathered, and begins anew. */
  take(): Handed {
    const handed = { words: this.#words, length: this.#length, bodies: this.#bodies };
    // The next is about as long as this one.
    const words = Math.min(wordsMax, Math.max(wordsMin, handed.length + (handed.length >> 2)));
    this.#use(new Int32Array(words), 0);
    this.#bodies = [];
    this.#bodyOf = undefined;
    this.#bodyBytes = 0;
    return handed;
  }

  #reserve(words: number): number {
    const at = this.#length;
    const length = at + words;
    if (length > this.#words.length) {
      const grown = new Int32Array(Math.max(length, this.#words.length * 2));
      grown.set(this.#words.subarray(0, at));
      this.#use(grown, length);
    }
    this.#length = length;
    return at;
  }

  #use(words: Int32Array<ArrayBuffer>, length: number): void {
    this.#words = words;
    this.#bytes = new Uint8Array(words.buffer);
    this.#length = length;
  }
}

/** The memory that goes over with a batch. */
export function memoryOf({ words, bodies }: Handed): ArrayBuffer[] {
  return [words.buffer, ...bodies.map(({ buffer }) => buffer)];
}

/** Calls `take` for each record. The bytes stay as they are for as long as somebody has them. */
export function readBatch(
  { words, length, bodies }: Handed,
  take: (kind: number, connection: number, value: number, bytes: Buffer) => void,
): void {
  for (let at = 0; at < length;) {
    const kind = words[at] ?? 0;
    const connection = words[at + 1] ?? 0;
    const value = words[at + 2] ?? 0;
    const count = words[at + 3] ?? 0;
    at += headerWords;
    let bytes = nothing;
    if (count > 0) bytes = Buffer.from(words.buffer, at * 4, count);
    else if (kind === bodyKind) {
      const body = bodies[value];
      if (body !== undefined) bytes = Buffer.from(body.buffer, body.byteOffset, body.length);
    }
    take(kind, connection, value, bytes);
    at += (count + 3) >> 2;
  }
}

const nothing = Buffer.alloc(0);
/** The same number in both directions. */
const bodyKind = FromCarrier.dataBody satisfies typeof ToCarrier.writeBody;
