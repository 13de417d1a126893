/** Counts events of the last `lengthUs` microseconds, within a limit. */
export class SlidingWindow<T> {
  readonly #lengthUs: number;
  readonly #limit: number;
  #events: { readonly timeUs: number; readonly value: T }[] = [];

  /** `limit`: events that are kept; detectors look at all of them for each new one, so it bounds their time as well. */
  constructor(lengthUs: number, limit = 512) {
    this.#lengthUs = lengthUs;
    this.#limit = limit;
  }

  /** Adds an event and forgets those that are too old. */
  add(timeUs: number, value: T): void {
    if (this.#events.length >= this.#limit) this.#events = this.#events.slice(this.#limit >> 1);
    this.#events.push({ timeUs, value });
    const from = timeUs - this.#lengthUs;
    if ((this.#events[0]?.timeUs ?? timeUs) >= from) return;
    this.#events = this.#events.filter((event) => event.timeUs >= from);
  }

  /** Forgets the events that `isOver` accepts. */
  drop(isOver: (value: T) => boolean): void {
    this.#events = this.#events.filter((event) => !isOver(event.value));
  }

  get size(): number {
    return this.#events.length;
  }

  values(): T[] {
    return this.#events.map((event) => event.value);
  }
}
