import type { ChunkPool } from "./chunk-pool.ts";
import type { CommitLine, Flushable } from "./commit-line.ts";
import type { PacketMemory } from "./packet-memory.ts";
import { type Placed, Run, type Shelves } from "./shelf.ts";
import type { Stats } from "./stats.ts";
import type { Transport } from "./transport.ts";

/** A larger packet is passed on by reference instead of being copied. */
const copiedBytesMax = 8_192;

/** What the connections of one broker share for sending. */
export interface OutboundShared {
  readonly pool: ChunkPool;
  readonly shelves: Shelves;
  readonly line: CommitLine;
  readonly stats: Stats;
  outboundBytes: number;
}

interface Segment {
  readonly bytes: Uint8Array;
  /** The pool's chunk behind `bytes`, to be given back once they are written. */
  readonly chunk: Buffer | undefined;
  /** Held until they are written. */
  readonly memory: PacketMemory | undefined;
}

interface Held {
  readonly group: number;
  readonly segments: readonly Segment[];
}

/**
 * What one connection sends: everything of one event-loop turn goes out in one write. A turn's output that
 * promises durability is held back, with all that follows it, until its commit group is on disk.
 */
export class Outbound implements Flushable {
  readonly #shared: OutboundShared;
  readonly #transport: Transport;
  readonly #onDrain: () => void;
  /** The chunk that is being filled, and how far. Read and written by the hot path. */
  chunk: Buffer | undefined = undefined;
  length = 0;
  /** All of this turn's output, as long as it is nothing but packets that others get, too: then there is neither chunk nor segment. */
  #run: Run | undefined = undefined;
  /** Filled segments of this turn that go before `chunk`. */
  #segments: Segment[] | undefined = undefined;
  #held: Held[] | undefined = undefined;
  #queued = false;
  #hold = false;
  #closed = false;
  /** Called when all is written after `end`. */
  #ending = false;
  #lingerMs = 0;
  /** Bytes of this connection in memory: being filled, held, or with the transport. */
  bytes = 0;

  constructor(shared: OutboundShared, transport: Transport, onDrain: () => void) {
    this.#shared = shared;
    this.#transport = transport;
    this.#onDrain = onDrain;
  }

  /** Room for `bytes` at `length` of the chunk it returns; the caller fills it and calls `advance`. */
  reserve(bytes: number): Buffer {
    const { chunk } = this;
    if (chunk !== undefined && this.length + bytes <= chunk.length) return chunk;
    return this.#nextChunk(bytes);
  }

  advance(bytes: number): void {
    this.length += bytes;
    this.#count(bytes);
  }

  /** Sends a whole packet. The bytes must not change any more. */
  append(packet: Buffer): void {
    if (packet.length > copiedBytesMax) {
      this.appendByReference(packet, undefined);
      return;
    }
    const chunk = this.reserve(packet.length);
    chunk.set(packet, this.length);
    this.advance(packet.length);
  }

  /** Packets that many get may be placed on a shelf and named to it (`appendPlaced`). */
  get takesPlaced(): boolean {
    return this.#transport.writeRun !== undefined;
  }

  /** Sends a packet that is on the shelf which is being filled. */
  appendPlaced(placed: Placed): void {
    const { shelf, start, end } = placed;
    const bytes = end - start;
    if (this.#run === undefined && this.chunk === undefined && this.#segments === undefined)
      this.#run = new Run(placed);
    else if (this.#run?.add(placed) !== true) {
      const chunk = this.reserve(bytes);
      chunk.set(shelf.memory.bytes.subarray(start, end), this.length);
      this.length += bytes;
    }
    this.#count(bytes);
  }

  /** Sends bytes as they are, without a copy of them. They must not change any more, or for as long as `memory` is held. */
  appendByReference(bytes: Uint8Array, memory: PacketMemory | undefined): void {
    this.#closeChunk();
    memory?.hold();
    this.#segments ??= [];
    this.#segments.push({ bytes, chunk: undefined, memory });
    this.#count(bytes.length);
  }

  /** Holds this turn's output (and what follows) until all that was appended to the store is on disk. */
  hold(): void {
    this.#hold = true;
    this.#enqueue();
  }

  /** Sends what there is, then closes, with so much time for the peer to read it. Output that is held still waits for its commit. */
  end(lingerMs: number): void {
    if (this.#ending || this.#closed) return;
    this.#ending = true;
    this.#lingerMs = lingerMs;
    this.#enqueue();
  }

  /** Forgets what was not handed to the transport yet; packets go as a whole or not at all. */
  drop(): void {
    this.#closeChunk();
    this.#hold = false;
    for (const segment of this.#takeUnwritten()) {
      this.bytes -= segment.bytes.length;
      this.#shared.outboundBytes -= segment.bytes.length;
      this.#giveBack(segment);
    }
  }

  /** The transport is gone: everything is dropped. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#shared.outboundBytes -= this.bytes;
    this.bytes = 0;
    this.chunk = undefined;
    this.#run?.release();
    this.#run = undefined;
    for (const segment of this.#takeUnwritten()) this.#giveBack(segment);
  }

  flush(group: number, isOnDisk: boolean): void {
    this.#queued = false;
    if (this.#closed) return;
    if (isOnDisk) this.#hold = false;
    const { chunk } = this;
    const run = this.#run;
    if (run !== undefined && !this.#hold && this.#held === undefined) {
      this.#run = undefined;
      this.#writeRun(run);
      if (this.#ending) this.#transport.end(this.#lingerMs);
      return;
    }
    if (chunk !== undefined && this.#segments === undefined && !this.#hold && this.#held === undefined) {
      // Nearly always there is one chunk, and nothing to wait for.
      const bytes = chunk.subarray(0, this.length);
      this.chunk = undefined;
      this.length = 0;
      this.#writeBytes(bytes, chunk, undefined);
      if (this.#ending) this.#transport.end(this.#lingerMs);
      return;
    }
    this.#closeChunk();
    const segments = this.#segments;
    this.#segments = undefined;
    const waits = this.#hold || this.#held !== undefined;
    this.#hold = false;
    if (waits) {
      this.#held ??= [];
      this.#held.push({ group, segments: segments ?? [] });
      this.#shared.line.addHolder(this);
    } else {
      if (segments !== undefined) this.#write(segments);
      if (this.#ending) this.#transport.end(this.#lingerMs);
    }
  }

  release(group: number): void {
    if (this.#closed || this.#held === undefined) return;
    let released = 0;
    for (const held of this.#held) {
      if (held.group > group) break;
      released += 1;
      this.#write(held.segments);
    }
    if (released === this.#held.length) {
      this.#held = undefined;
      if (this.#ending && !this.#queued) this.#transport.end(this.#lingerMs);
    } else {
      this.#held.splice(0, released);
    }
  }

  #count(bytes: number): void {
    this.bytes += bytes;
    this.#shared.outboundBytes += bytes;
    if (!this.#queued) this.#enqueue();
  }

  #enqueue(): void {
    if (this.#queued || this.#closed) return;
    this.#queued = true;
    this.#shared.line.add(this);
  }

  /** Starts a chunk for `bytes` more: small at first, larger when a turn has much to say. */
  #nextChunk(bytes: number): Buffer {
    if (this.#run !== undefined) return this.#copyRun(this.#run, bytes);
    const old = this.chunk;
    const wanted = old === undefined ? bytes : Math.max(bytes, Math.min(65_536, old.length * 4));
    this.#closeChunk();
    const chunk = this.#shared.pool.take(wanted);
    this.chunk = chunk;
    return chunk;
  }

  /** Something else follows: it goes on in a chunk, which has room for `bytes` more. */
  #copyRun(run: Run, bytes: number): Buffer {
    const chunk = this.#shared.pool.take(run.bytes + bytes);
    run.copyTo(chunk);
    run.release();
    this.#run = undefined;
    this.chunk = chunk;
    this.length = run.bytes;
    return chunk;
  }

  #closeChunk(): void {
    if (this.#run !== undefined) this.#copyRun(this.#run, 0);
    const { chunk, length } = this;
    if (chunk === undefined) return;
    this.#segments ??= [];
    this.#segments.push({ bytes: chunk.subarray(0, length), chunk, memory: undefined });
    this.chunk = undefined;
    this.length = 0;
  }

  #write(segments: readonly Segment[]): void {
    const [only] = segments;
    if (only === undefined) return;
    if (segments.length === 1) {
      this.#writeBytes(only.bytes, only.chunk, only.memory);
      return;
    }
    let bytes = 0;
    for (const segment of segments) bytes += segment.bytes.length;
    this.#shared.stats.bytesSent += bytes;
    const parts = segments.map((segment) => segment.bytes);
    this.#transport.writeAll(parts, () => {
      for (const segment of segments) this.#giveBack(segment);
      this.#written(bytes);
    });
  }

  #writeBytes(bytes: Uint8Array, chunk: Buffer | undefined, memory: PacketMemory | undefined): void {
    this.#shared.stats.bytesSent += bytes.length;
    this.#transport.write(bytes, () => {
      if (chunk !== undefined) this.#shared.pool.give(chunk);
      memory?.release();
      this.#written(bytes.length);
    });
  }

  #writeRun(run: Run): void {
    const { bytes } = run;
    this.#shared.stats.bytesSent += bytes;
    this.#transport.writeRun?.(run, () => this.#written(bytes));
    run.release();
  }

  #giveBack({ chunk, memory }: Segment): void {
    if (chunk !== undefined) this.#shared.pool.give(chunk);
    memory?.release();
  }

  /** All that the transport does not have; it is nobody's any more. */
  #takeUnwritten(): readonly Segment[] {
    const held = this.#held;
    const segments = this.#segments ?? [];
    this.#held = undefined;
    this.#segments = undefined;
    return held === undefined ? segments : [...held.flatMap((each) => each.segments), ...segments];
  }

  #written(bytes: number): void {
    if (this.#closed) return;
    this.bytes -= bytes;
    this.#shared.outboundBytes -= bytes;
    this.#onDrain();
  }
}
