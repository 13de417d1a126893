import type { ProtocolVersion } from "@postern/mqtt/packets";
import { createFrame, FrameResult, readFrame, type Frame } from "@postern/mqtt/frame";

/** What the reader of a connection decides after each packet. */
export const Next = {
  go: 0,
  /** Take no more for now; `resume` goes on with what is left. */
  pause: 1,
  /** The connection is closing: drop the rest. */
  stop: 2,
} as const;
export type Next = (typeof Next)[keyof typeof Next];

/** Receives the packets of one connection. The bytes are valid during the call; views of them stay unchanged after it. */
export interface PacketReader {
  readonly version: ProtocolVersion;
  /** The most bytes the packet that is now being read may have. */
  readonly packetBytesMax: number;
  onPacket(bytes: Buffer, frame: Frame): Next;
  /** The bytes cannot be a packet (`malformed`) or would be a longer one than allowed (`tooLarge`). */
  onUnreadable(result: "malformed" | "tooLarge" | "tooMuch"): void;
  /** The memory held for an incomplete packet grew or shrank; false when the server holds too much of that in all. */
  onHeld(bytesMore: number): boolean;
}

const restBytesMin = 64;

/**
 * Cuts the byte stream of one connection into packets. Packets that came in one piece are handed on in place;
 * of one that is still incomplete at most twice of what has arrived is kept, whatever length it declares.
 */
export class Inbound {
  readonly #reader: PacketReader;
  readonly #frame: Frame = sharedFrame;
  /** The beginning of a packet that is not complete. */
  #rest: Buffer | undefined = undefined;
  #restLength = 0;
  /** Whole bytes that came while paused. */
  #waiting: Buffer[] | undefined = undefined;
  #paused = false;
  #stopped = false;

  constructor(reader: PacketReader) {
    this.#reader = reader;
  }

  take(bytes: Buffer): void {
    if (this.#stopped) return;
    if (this.#paused) {
      this.#waiting ??= [];
      this.#waiting.push(bytes);
      return;
    }
    const offset = this.#rest === undefined ? 0 : this.#complete(bytes);
    if (offset < bytes.length) this.#consume(bytes, offset);
  }

  pause(): void {
    this.#paused = true;
  }

  /** Goes on with what came meanwhile. */
  resume(): void {
    this.#paused = false;
    const waiting = this.#waiting;
    this.#waiting = undefined;
    // What a new pause leaves is put back in order by `take`.
    for (const bytes of waiting ?? []) this.take(bytes);
  }

  stop(): void {
    this.#stopped = true;
    this.#release();
    this.#waiting = undefined;
  }

  #consume(bytes: Buffer, from: number): void {
    const frame = this.#frame;
    const end = bytes.length;
    let offset = from;
    while (offset < end) {
      const result = readFrame(bytes, offset, end, this.#reader.packetBytesMax, frame, this.#reader.version);
      if (result === FrameResult.incomplete) {
        this.#keep(bytes, offset);
        return;
      }
      if (!this.#isReadable(result)) return;
      offset = frame.bodyEnd;
      if (!this.#goesOn(this.#reader.onPacket(bytes, frame), bytes, offset)) return;
    }
  }

  /** Adds to the incomplete packet until it is whole; returns how many of the bytes that took. */
  #complete(bytes: Buffer): number {
    const frame = this.#frame;
    let offset = 0;
    while (this.#rest !== undefined && offset < bytes.length) {
      const result = readFrame(
        this.#rest,
        0,
        this.#restLength,
        this.#reader.packetBytesMax,
        frame,
        this.#reader.version,
      );
      if (result !== FrameResult.incomplete && !this.#isReadable(result)) return bytes.length;
      // Until the length is known the header comes byte by byte.
      const missing = frame.bodyEnd < 0 ? 1 : frame.bodyEnd - this.#restLength;
      const taken = Math.min(missing, bytes.length - offset);
      this.#append(bytes, offset, taken);
      offset += taken;
      if (!this.#handOver(bytes, offset)) return bytes.length;
    }
    return offset;
  }

  /** Hands over the kept packet if it is whole now; false when nothing more is to be read from `bytes`. */
  #handOver(bytes: Buffer, offset: number): boolean {
    const rest = this.#rest;
    if (rest === undefined) return false;
    const result = readFrame(
      rest,
      0,
      this.#restLength,
      this.#reader.packetBytesMax,
      this.#frame,
      this.#reader.version,
    );
    if (result === FrameResult.incomplete) return true;
    if (!this.#isReadable(result)) return false;
    this.#release();
    return this.#goesOn(this.#reader.onPacket(rest, this.#frame), bytes, offset);
  }

  #isReadable(result: number): boolean {
    if (result === FrameResult.complete) return true;
    this.stop();
    this.#reader.onUnreadable(result === FrameResult.tooLarge ? "tooLarge" : "malformed");
    return false;
  }

  #goesOn(next: Next, bytes: Buffer, offset: number): boolean {
    if (next === Next.go && !this.#paused && !this.#stopped) return true;
    if (next === Next.stop) this.stop();
    if (this.#stopped) return false;
    this.#paused = true;
    if (offset < bytes.length) {
      this.#waiting ??= [];
      this.#waiting.unshift(bytes.subarray(offset));
    }
    return false;
  }

  #release(): void {
    if (this.#rest !== undefined) this.#reader.onHeld(-this.#rest.length);
    this.#rest = undefined;
    this.#restLength = 0;
  }

  #keep(bytes: Buffer, offset: number): void {
    this.#restLength = 0;
    this.#append(bytes, offset, bytes.length - offset);
  }

  #append(bytes: Buffer, offset: number, count: number): void {
    const length = this.#restLength + count;
    let rest = this.#rest;
    if (rest === undefined || rest.length < length) {
      const capacity = this.#capacityFor(length);
      if (!this.#reader.onHeld(capacity - (rest?.length ?? 0))) {
        this.#reader.onHeld((rest?.length ?? 0) - capacity);
        this.stop();
        this.#reader.onUnreadable("tooMuch");
        return;
      }
      const grown = Buffer.allocUnsafeSlow(capacity);
      if (rest !== undefined) grown.set(rest.subarray(0, this.#restLength));
      rest = grown;
      this.#rest = rest;
    }
    rest.set(bytes.subarray(offset, offset + count), this.#restLength);
    this.#restLength = length;
  }

  /**
   * Room for the whole packet once half of it is there; before that twice what has really arrived, so that a declared
   * length alone takes no memory. The frame is the one of the packet that is being kept.
   */
  #capacityFor(length: number): number {
    const { start, bodyEnd } = this.#frame;
    const whole = bodyEnd < 0 ? Infinity : bodyEnd - start;
    return Math.min(Math.max(restBytesMin, length * 2), Math.max(whole, length));
  }
}

/** A packet is handled before the next frame is read, so all connections of a thread can share one. */
const sharedFrame = createFrame();
