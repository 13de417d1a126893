/** Bytes that arrived in chunks and have not been used yet. */
export class ByteQueue {
  #bytes: Uint8Array = new Uint8Array(0);
  #own: Uint8Array = new Uint8Array(0);
  #offset = 0;
  #consumed = 0;

  /** How many bytes were taken so far: the place in the file. */
  get position(): number {
    return this.#consumed;
  }

  /** What holds the bytes that are there; the next one stands at `offset`. */
  get bytes(): Uint8Array {
    return this.#bytes;
  }

  get offset(): number {
    return this.#offset;
  }

  get length(): number {
    return this.#bytes.length - this.#offset;
  }

  /** Adds bytes, which are used in place until `keep` is called. Ends earlier views. */
  push(chunk: Uint8Array): void {
    const left = this.length;
    if (left === 0) {
      // Views of a `Buffer` cost more than views of plain bytes, and every frame is one.
      this.#bytes = new Uint8Array(chunk.buffer, chunk.byteOffset, chunk.length);
      this.#offset = 0;
    } else {
      this.#hold(left + chunk.length);
      this.#own.set(chunk, left);
    }
  }

  /** Copies what is left, so that the memory of the chunk that was pushed last can be used for the next one. */
  keep(): void {
    this.#hold(this.length);
  }

  /**
   * Puts what is left at the beginning of memory of our own, with room for `count` bytes. It is the same again and again: new memory
   * for each chunk makes the engine collect all of its garbage.
   */
  #hold(count: number): void {
    const rest = this.#bytes.subarray(this.#offset);
    if (this.#own.length < count) this.#own = new Uint8Array(2 * count);
    this.#own.set(rest);
    this.#bytes = this.#own.subarray(0, count);
    this.#offset = 0;
  }

  /** A view of the next `count` bytes, fewer when there are fewer; they stay. */
  peek(count: number): Uint8Array {
    return this.#bytes.subarray(this.#offset, this.#offset + count);
  }

  /** The integer of four bytes at `offset` from here; only what is there may be asked for. */
  uint32(offset: number, littleEndian: boolean): number {
    const at = this.#offset + offset;
    const a = this.#bytes[at] ?? 0;
    const b = this.#bytes[at + 1] ?? 0;
    const c = this.#bytes[at + 2] ?? 0;
    const d = this.#bytes[at + 3] ?? 0;
    return (littleEndian ? a | (b << 8) | (c << 16) | (d << 24) : d | (c << 8) | (b << 16) | (a << 24)) >>> 0;
  }

  /** Passes over `count` bytes, which are there, and returns a view of them. */
  take(count: number): Uint8Array {
    const taken = this.#bytes.subarray(this.#offset, this.#offset + count);
    this.skip(count);
    return taken;
  }

  /** Passes over `count` bytes, which are there. */
  skip(count: number): void {
    this.#offset += count;
    this.#consumed += count;
  }
}
