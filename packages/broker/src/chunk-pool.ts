const classBytes = [1_024, 4_096, 16_384, 65_536] as const;
const keptPerClass = 64;

/**
 * Output chunks that are given back when they are on their way to the kernel: an idle connection holds none.
 * One pool serves all connections of a thread.
 */
export class ChunkPool {
  readonly #free: Buffer[][] = classBytes.map(() => []);

  /** A chunk with room for at least `bytes`; its content is undefined. */
  take(bytes: number): Buffer {
    for (const [index, size] of classBytes.entries()) {
      if (bytes <= size) return this.#free[index]?.pop() ?? Buffer.allocUnsafeSlow(size);
    }
    return Buffer.allocUnsafeSlow(bytes);
  }

  give(chunk: Buffer): void {
    for (const [index, size] of classBytes.entries()) {
      if (chunk.length !== size) continue;
      const free = this.#free[index];
      if (free !== undefined && free.length < keptPerClass) free.push(chunk);
      return;
    }
  }
}
