import type { ProtocolVersion } from "@postern/mqtt/packets";
import { createFrame, FrameResult, readFrame, type Frame } from "@postern/mqtt/frame";

import { memoryOver } from "./memory-over.ts";
import { packetMemories, type PacketMemory } from "./packet-memory.ts";

/** What the reader of a connection decides after each packet. */
export const Next = {
  go: 0,
  /** Take no more for now; `resume` goes on with what is left. */
  pause: 1,
  /** The connection is closing: drop the rest. */
  stop: 2,
} as const;
export type Next = (typeof Next)[keyof typeof Next];

/**
 * Receives the packets of one connection. The bytes are valid during the call only: other packets come to where they are. Those of a large
 * packet are valid for as long as `Inbound.memory` is held, too.
 */
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

const restBytesMin = 80;
/** Larger packets have memory of their own, which they may be sent from. */
const copiedBytesMax = 8_192;

/**
 * Cuts the byte stream of one connection into packets. Small packets that came in one piece are handed on in place;
 * for one that is still incomplete there is memory for at most twice of what has arrived, whatever length it declares,
 * and once half of it has arrived for all of it.
 */
export class Inbound {
  readonly #reader: PacketReader;
  readonly #frame: Frame = sharedFrame;
  /** The beginning of a packet that is not complete. */
  #rest: Buffer | undefined = undefined;
  #restLength = 0;
  /** Behind `#rest`. */
  #restMemory: PacketMemory | undefined = undefined;
  /** Behind the packet that is being handed on, where it is large. */
  memory: PacketMemory | undefined = undefined;
  /** Whole bytes that came while paused. */
  #waiting: Buffer[] | undefined = undefined;
  /** What is being read is nobody else's, and may wait as it is. */
  #owned = false;
  #paused = false;
  #stopped = false;

  constructor(reader: PacketReader) {
    this.#reader = reader;
  }

  /** The bytes are looked at during the call only. */
  take(bytes: Buffer): void {
    this.#take(bytes, false);
    if (memoryOver.hasSubscribers) memoryOver.publish(bytes);
  }

  #take(bytes: Buffer, owned: boolean): void {
    if (this.#stopped) return;
    if (this.#paused) {
      this.#waiting ??= [];
      this.#waiting.push(owned ? bytes : Buffer.from(bytes));
      return;
    }
    const wasOwned = this.#owned;
    this.#owned = owned;
    const offset = this.#rest === undefined ? 0 : this.#complete(bytes);
    if (offset < bytes.length) this.#consume(bytes, offset);
    this.#owned = wasOwned;
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
    for (const bytes of waiting ?? []) this.#take(bytes, true);
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
      const next =
        offset - frame.start > copiedBytesMax
          ? this.#handOn(bytes, frame.start, offset)
          : this.#reader.onPacket(bytes, frame);
      if (!this.#goesOn(next, bytes, offset)) return;
    }
  }

  /** Hands on a large packet that came in one piece. */
  #handOn(bytes: Buffer, start: number, end: number): Next {
    const memory = packetMemories.take(end - start);
    memory.bytes.set(bytes.subarray(start, end));
    readFrame(memory.bytes, 0, end - start, this.#reader.packetBytesMax, this.#frame, this.#reader.version);
    return this.#handOnIn(memory, memory.bytes);
  }

  #handOnIn(memory: PacketMemory | undefined, bytes: Buffer): Next {
    this.memory = memory;
    const next = this.#reader.onPacket(bytes, this.#frame);
    this.memory = undefined;
    memory?.release();
    return next;
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
    const memory = this.#restMemory;
    this.#restMemory = undefined;
    this.#release();
    return this.#goesOn(this.#handOnIn(memory, rest), bytes, offset);
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
      const left = bytes.subarray(offset);
      this.#waiting.unshift(this.#owned ? left : Buffer.from(left));
    }
    return false;
  }

  #release(): void {
    if (this.#rest !== undefined) this.#reader.onHeld(-this.#rest.length);
    this.#restMemory?.release();
    this.#restMemory = undefined;
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
      const held = rest?.length ?? 0;
      const capacity = this.#capacityFor(length);
      if (!this.#reader.onHeld(capacity - held)) {
        this.#reader.onHeld(held - capacity);
        this.stop();
        this.#reader.onUnreadable("tooMuch");
        return;
      }
      rest = this.#grow(capacity);
    }
    rest.set(bytes.subarray(offset, offset + count), this.#restLength);
    this.#restLength = length;
  }

  #grow(capacity: number): Buffer {
    const old = this.#restMemory;
    let memory = old;
    if (memory === undefined || memory.bytes.length < capacity) {
      memory = packetMemories.take(capacity);
      if (this.#rest !== undefined) memory.bytes.set(this.#rest.subarray(0, this.#restLength));
      old?.release();
      this.#restMemory = memory;
    }
    this.#rest = memory.bytes.subarray(0, capacity);
    return this.#rest;
  }

  /**
   * Room for the whole packet once half of it is there; before that twice what has really arrived, so that a declared
   * length alone takes no memory. The frame is the one of the packet that is being kept.
   */
  #capacityFor(length: number): number {
    const { start, bodyEnd } = this.#frame;
    const whole = bodyEnd < 0 ? Infinity : bodyEnd - start;
    const twice = Math.max(restBytesMin, length * 2);
    return twice < whole ? packetMemories.sizeWithin(twice) : Math.max(whole, length);
  }
}

/** A packet is handled before the next frame is read, so all connections of a thread can share one. */
const sharedFrame = createFrame();
