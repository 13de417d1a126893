import { memoryOver } from "./memory-over.ts";

/** Sizes of chunks, and how many of each are kept: 9 MB in all. Small ones are many, one for each connection that says something in a turn. */
const classes = [
  { bytes: 1_024, keptMax: 2_048 },
  { bytes: 4_096, keptMax: 512 },
  { bytes: 16_384, keptMax: 64 },
  { bytes: 65_536, keptMax: 64 },
] as const;

/**
 * Output chunks that are given back when they are on their way to the kernel: an idle connection holds none.
 * One pool serves all connections of a thread.
 */
export class ChunkPool {
  readonly #free: Buffer[][] = classes.map(() => []);

  /** A chunk with room for at least `bytes`; its content is undefined. */
  take(bytes: number): Buffer {
    const index = classOf(bytes);
    const size = classes[index]?.bytes;
    return this.#free[index]?.pop() ?? Buffer.allocUnsafeSlow(size ?? bytes);
  }

  give(chunk: Buffer): void {
    if (memoryOver.hasSubscribers) memoryOver.publish(chunk);
    const index = classOf(chunk.length);
    const free = this.#free[index];
    const of = classes[index];
    if (free !== undefined && of !== undefined && chunk.length === of.bytes && free.length < of.keptMax)
      free.push(chunk);
  }
}

/** The smallest class with room for `bytes`; one beyond the last when there is none. */
function classOf(bytes: number): number {
  return bytes <= 1_024 ? 0 : bytes <= 4_096 ? 1 : bytes <= 16_384 ? 2 : bytes <= 65_536 ? 3 : 4;
}
