import type { Admitted, Caller } from "../listeners/admission.ts";
import type { Run } from "../shelf.ts";
import type { Transport, TransportHandler } from "../transport.ts";
import { type Batch, ToCarrier } from "./batch.ts";
import type { Arrival } from "./messages.ts";

/** More bytes than these are handed over in a piece of their own: one for all connections that are sent the same. */
const inlineBytesMax = 8_192;

/** Writes that are done are forgotten when there are so many of them. */
const writesKeptMax = 64;

/** The way to the thread that carries a connection. */
export interface RemoteLink {
  /** What is handed over at the end of this turn. */
  readonly batch: () => Batch;
  /** Resolves when all that its sockets have by now was handed over. */
  readonly heardAll: () => Promise<void>;
  /** To be called when the connection may be over. */
  readonly forget: (connection: RemoteConnection) => void;
}

/** What a connection that another thread carries is here, where everything about it is decided. */
export class RemoteConnection implements Caller, Transport {
  readonly number: number;
  /** The number of its listener. */
  readonly listener: number;
  readonly remoteAddress: string;
  readonly remotePort: number;
  readonly #batch: () => Batch;
  readonly #link: RemoteLink;
  destroyed = false;
  /** Set when it may begin. */
  admitted: Admitted<RemoteConnection> | undefined = undefined;
  /** Set when it has come as far as MQTT. */
  #handler: TransportHandler | undefined = undefined;
  #onGone: (() => void) | undefined = undefined;
  #isGone = false;
  #isClosed = false;
  #isPaused = false;
  /** What came after the pause, in the order in which it came. */
  readonly #waiting: Buffer[] = [];
  #isHandingOn = false;
  /** The client will send no more. */
  #hasEnded = false;
  /** It is closed where its socket is; here, once what waits was taken. */
  #hasClosed = false;
  /** Told when they are written, in order; those before `#writtenCount` have been. */
  #writes: (() => void)[] = [];
  #writtenCount = 0;
  #gatheredBytes = 0;

  constructor(link: RemoteLink, number: number, listener: number, { address, port }: Arrival) {
    this.#link = link;
    this.#batch = link.batch;
    this.number = number;
    this.listener = listener;
    this.remoteAddress = address;
    this.remotePort = port;
  }

  // ── for admission ─────────────────────────────────────────────────────────────────────────────

  destroy(): void {
    if (this.destroyed) return;
    this.destroyed = true;
    this.#batch().add(ToCarrier.cut, this.number, 0);
  }

  /** What goes wrong with a socket is seen where it is. */
  on(event: "close" | "error", listener: () => void): void {
    if (event === "close") this.#onGone = listener;
  }

  begin(admitted: Admitted<RemoteConnection>): void {
    this.admitted = admitted;
    this.#batch().add(ToCarrier.begin, this.number, 0);
  }

  // ── for MQTT ──────────────────────────────────────────────────────────────────────────────────

  write(bytes: Uint8Array, done: () => void): void {
    if (!this.#mayWrite(done)) return;
    this.#writes.push(done);
    this.#write(bytes);
  }

  writeAll(pieces: readonly Uint8Array[], done: () => void): void {
    if (!this.#mayWrite(done)) return;
    this.#writes.push(done);
    this.#batch().add(ToCarrier.gather, this.number, pieces.length);
    for (const bytes of pieces) this.#write(bytes);
  }

  writeRun(run: Run, done: () => void): void {
    if (!this.#mayWrite(done)) return;
    this.#writes.push(done);
    this.#batch().addRun(ToCarrier.writeRun, this.number, run);
  }

  /** What goes to a client that is gone is written as far as it ever will be. */
  #mayWrite(done: () => void): boolean {
    if (this.#hasClosed && !this.#isClosed) process.nextTick(done);
    return !this.#hasClosed;
  }

  #write(bytes: Uint8Array): void {
    if (bytes.length <= inlineBytesMax) this.#batch().addBytes(ToCarrier.write, this.number, 0, bytes);
    else this.#batch().addBody(ToCarrier.writeBody, this.number, bytes);
  }

  pause(): void {
    if (this.#isPaused) return;
    this.#isPaused = true;
    this.#batch().add(ToCarrier.pause, this.number, 0);
  }

  resume(): void {
    if (!this.#isPaused) return;
    this.#isPaused = false;
    this.#handOn();
  }

  heardAll(): Promise<void> {
    return this.#link.heardAll();
  }

  end(lingerMs: number): void {
    this.#batch().add(ToCarrier.end, this.number, lingerMs);
  }

  // ── from the thread that carries it ───────────────────────────────────────────────────────────

  attach(handler: TransportHandler): void {
    this.#handler = handler;
  }

  data(bytes: Buffer): void {
    if (this.#isClosed) return;
    if (!this.#isPaused && this.#waiting.length === 0) this.#handler?.onData(bytes);
    // It was on its way when nothing more was to be read: it waits by itself, not with all that came together with it.
    else this.#waiting.push(Buffer.from(bytes));
  }

  looked(): void {
    const awaitsConnect = this.#handler?.awaitsConnect === true;
    this.#batch().add(ToCarrier.lookedAt, this.number, awaitsConnect ? 1 : 0);
  }

  gathered(bytesMore: number): void {
    this.#gatheredBytes += bytesMore;
    this.#handler?.onGathered(bytesMore);
  }

  clientEnded(): void {
    this.#hasEnded = true;
    if (this.#waiting.length === 0) this.#handler?.onEnd();
  }

  /** Hands on what waits, piece by piece, until nothing more is to be read; then has the other thread read on. */
  #handOn(): void {
    if (this.#isHandingOn) return;
    this.#isHandingOn = true;
    let handed = 0;
    while (handed < this.#waiting.length && !this.#isPaused && !this.#isClosed) {
      const bytes = this.#waiting[handed];
      handed += 1;
      if (bytes !== undefined) this.#handler?.onData(bytes);
    }
    this.#waiting.splice(0, handed);
    this.#isHandingOn = false;
    if (this.#isPaused || this.#isClosed) return;
    if (this.#hasClosed) {
      this.#close();
      return;
    }
    this.#batch().add(ToCarrier.resume, this.number, 0);
    if (handed > 0 && this.#hasEnded) this.#handler?.onEnd();
  }

  written(count: number): void {
    const writes = this.#writes;
    const end = Math.min(writes.length, this.#writtenCount + count);
    while (this.#writtenCount < end && !this.#isClosed) {
      const done = writes[this.#writtenCount];
      this.#writtenCount += 1;
      done?.();
    }
    if (this.#writtenCount === this.#writes.length) this.#writes.length = 0;
    else if (this.#writtenCount >= writesKeptMax) this.#writes = this.#writes.slice(this.#writtenCount);
    else return;
    this.#writtenCount = 0;
  }

  closed(): void {
    if (this.#hasClosed) return;
    this.#hasClosed = true;
    if (this.#waiting.length === 0) this.#close();
    // Nobody reads it any more, and what waits may be waiting for room.
    else this.written(this.#writes.length);
  }

  #close(): void {
    this.#isClosed = true;
    this.#handler?.onClose();
    // Nobody will say that these are written; they are as far as they ever will be.
    for (const done of this.#writes.slice(this.#writtenCount)) done();
    this.#writes.length = 0;
    this.#writtenCount = 0;
    this.#link.forget(this);
  }

  gone(): void {
    this.#isGone = true;
    this.destroyed = true;
    this.#onGone?.();
  }

  /** Nothing more comes of it. */
  get isOver(): boolean {
    return this.#isGone && (this.#isClosed || this.#handler === undefined);
  }

  /** To be called when it is over. */
  settle(): void {
    if (this.#gatheredBytes !== 0) this.#handler?.onGathered(-this.#gatheredBytes);
    this.#gatheredBytes = 0;
  }
}
