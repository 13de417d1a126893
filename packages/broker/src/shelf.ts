import { packetMemories, type PacketMemory } from "./packet-memory.ts";

const shelfBytes = 65_536;
/** More ranges than these are copied together: naming them would cost as much. */
const rangesMax = 512;

/** Packets for many connections, one after the other in memory of their own. What is there does not change any more. */
export class Shelf {
  readonly memory: PacketMemory = packetMemories.take(shelfBytes);
  length = 0;
}

/** Where a packet is. */
export interface Placed {
  readonly shelf: Shelf;
  readonly start: number;
  readonly end: number;
}

/** The shelf that is being filled, and the next when it is full. */
export class Shelves {
  #shelf = new Shelf();

  /** Where the packet is that was placed before, or is now: on the shelf that is being filled in any case. */
  place(bytes: Uint8Array, before: Placed | undefined): Placed {
    if (before?.shelf === this.#shelf) return before;
    let shelf = this.#shelf;
    if (shelf.length + bytes.length > shelfBytes) {
      shelf.memory.release();
      shelf = new Shelf();
      this.#shelf = shelf;
    }
    const start = shelf.length;
    shelf.memory.bytes.set(bytes, start);
    shelf.length += bytes.length;
    return { shelf, start, end: shelf.length };
  }
}

/** The packets of one shelf that one connection is sent, in order. */
export class Run {
  readonly shelf: Shelf;
  /** Start and end of each part of the shelf. */
  readonly ranges: number[];
  bytes: number;

  /** To be released. */
  constructor({ shelf, start, end }: Placed) {
    shelf.memory.hold();
    this.shelf = shelf;
    this.ranges = [start, end];
    this.bytes = end - start;
  }

  /** False, with nothing added, when the packet is on another shelf or there are too many parts. */
  add({ shelf, start, end }: Placed): boolean {
    const { ranges } = this;
    if (shelf !== this.shelf) return false;
    const last = ranges.length - 1;
    if (ranges[last] === start) ranges[last] = end;
    else if (ranges.length < rangesMax) ranges.push(start, end);
    else return false;
    this.bytes += end - start;
    return true;
  }

  copyTo(target: Uint8Array): void {
    copyRanges(this.shelf.memory.bytes, this.ranges, target);
  }

  release(): void {
    this.shelf.memory.release();
  }
}

/** Copies parts of `source`, of which starts and ends are given, one after the other. */
export function copyRanges(source: Uint8Array, ranges: ArrayLike<number>, target: Uint8Array): void {
  let at = 0;
  for (let index = 0; index < ranges.length; index += 2) {
    const part = source.subarray(ranges[index] ?? 0, ranges[index + 1] ?? 0);
    target.set(part, at);
    at += part.length;
  }
}
