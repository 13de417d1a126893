/**
 * A map of bounded size: what was set longest ago makes room. Setting a key again makes it the newest.
 *
 * The oldest is found by an iterator that is kept: everything it has passed was taken out. To ask the map for its first
 * key each time would walk over the holes that the others left, of which there are as many as entries.
 */
export class OldestOutMap<Key, Value> {
  readonly #map = new Map<Key, Value>();
  readonly #sizeMax: number;
  #oldest: Iterator<Key>;

  constructor(sizeMax: number) {
    this.#sizeMax = sizeMax;
    this.#oldest = this.#map.keys();
  }

  get size(): number {
    return this.#map.size;
  }

  get(key: Key): Value | undefined {
    return this.#map.get(key);
  }

  has(key: Key): boolean {
    return this.#map.has(key);
  }

  /** @returns the key that made room. */
  set(key: Key, value: Value): Key | undefined {
    this.#map.delete(key);
    this.#map.set(key, value);
    return this.#map.size > this.#sizeMax ? this.#dropOldest() : undefined;
  }

  delete(key: Key): boolean {
    return this.#map.delete(key);
  }

  keys(): IterableIterator<Key> {
    return this.#map.keys();
  }

  [Symbol.iterator](): IterableIterator<[Key, Value]> {
    return this.#map.entries();
  }

  #dropOldest(): Key | undefined {
    let next = this.#oldest.next();
    if (next.done === true) {
      // It came to the end when the map was empty.
      this.#oldest = this.#map.keys();
      next = this.#oldest.next();
    }
    if (next.done === true) return undefined;
    this.#map.delete(next.value);
    return next.value;
  }
}
