import assert from "node:assert/strict";

import { memoryOver } from "./memory-over.ts";

/** Sizes of memory: with room for a payload of a power of two and what a packet has around it. */
const sizeMin = 80;
const sizesCount = 15;
/** What is kept for packets to come: of each size, and of all together. */
const keptCountMax = 1_024;
const keptBytesMax = 16_777_216;

/** Where memory goes when nobody needs it any more. */
export interface MemoryPool {
  give(bytes: Buffer<ArrayBuffer>): void;
}

/**
 * The memory of one packet, and how many still need it: whoever reads it, and each connection that has yet to send it.
 * Left to the collector, each of them would be there until the next time that the whole heap is looked through, and bring that time
 * nearer: with 64 KB payloads it is several times a second.
 */
export class PacketMemory {
  readonly bytes: Buffer<ArrayBuffer>;
  readonly #pool: MemoryPool;
  #holders = 1;
  #isKept = false;

  constructor(bytes: Buffer<ArrayBuffer>, pool: MemoryPool) {
    this.bytes = bytes;
    this.#pool = pool;
  }

  hold(): void {
    assert(this.#holders > 0 || this.#isKept, "memory is held that was given back");
    this.#holders += 1;
  }

  /** Each who holds it calls this once, and does not look at the bytes any more. */
  release(): void {
    assert(this.#holders > 0, "memory is given back twice");
    this.#holders -= 1;
    if (this.#holders === 0 && !this.#isKept) this.#pool.give(this.bytes);
  }

  /** Somebody has it for longer than they say: the collector is to find out when it is over. */
  keep(): void {
    this.#isKept = true;
  }
}

/** Memory for packets, used again and again. One pool serves all connections of a thread. */
export class PacketMemories implements MemoryPool {
  readonly #free: Buffer<ArrayBuffer>[][] = Array.from({ length: sizesCount }, () => []);
  #keptBytes = 0;

  /** Memory for at least `bytes`; its content is undefined. */
  take(bytes: number): PacketMemory {
    const index = indexOf(bytes);
    const known = this.#free[index]?.pop();
    if (known !== undefined) this.#keptBytes -= known.length;
    return new PacketMemory(
      known ?? Buffer.allocUnsafeSlow(index < sizesCount ? sizeOf(index) : bytes),
      this,
    );
  }

  give(bytes: Buffer<ArrayBuffer>): void {
    if (memoryOver.hasSubscribers) memoryOver.publish(bytes);
    const { length, buffer } = bytes;
    const free = this.#free[indexOf(length)];
    if (free !== undefined && free.length < keptCountMax && this.#keptBytes + length <= keptBytesMax) {
      free.push(bytes);
      this.#keptBytes += length;
    } else {
      // Freed now, not when the collector comes by.
      buffer.transfer(0);
    }
  }

  /** The largest size of at most `bytes`, of which there are no fewer than the smallest size. */
  sizeWithin(bytes: number): number {
    const index = indexOf(bytes);
    if (index === sizesCount) return bytes;
    const size = sizeOf(index);
    return size <= bytes ? size : size / 2;
  }
}

/** The smallest size with room for `bytes`; `sizesCount` when there is none. */
function indexOf(bytes: number): number {
  return Math.min(sizesCount, 32 - Math.clz32(Math.ceil(bytes / sizeMin) - 1));
}

function sizeOf(index: number): number {
  return sizeMin << index;
}

export const packetMemories = new PacketMemories();
