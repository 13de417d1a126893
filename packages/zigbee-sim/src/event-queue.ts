/** Something that will happen, unless it is cancelled before. */
export interface Timer {
  readonly atUs: number;
  cancelled: boolean;
}

interface Event extends Timer {
  readonly order: number;
  readonly action: () => void;
}

function isBefore(a: Event, b: Event): boolean {
  return a.atUs < b.atUs || (a.atUs === b.atUs && a.order < b.order);
}

/** Simulated time in whole microseconds, and what is to happen. Events of one instant happen in the order they were planned in. */
export class EventQueue {
  nowUs = 0;
  readonly #heap: Event[] = [];
  #order = 0;

  /** Plans `action` in `delayUs` microseconds, rounded. */
  after(delayUs: number, action: () => void): Timer {
    return this.at(this.nowUs + Math.max(0, Math.round(delayUs)), action);
  }

  /** Plans `action`. Throws `RangeError` when the time is over or no whole number. */
  at(atUs: number, action: () => void): Timer {
    if (!Number.isSafeInteger(atUs) || atUs < this.nowUs) {
      throw new RangeError(`an event at ${atUs} us cannot be planned at ${this.nowUs} us`);
    }
    const event: Event = { atUs, cancelled: false, order: this.#order++, action };
    this.#push(event);
    return event;
  }

  /** Lets everything happen until `untilUs`; then it is that time. */
  run(untilUs: number): void {
    for (let event = this.#heap[0]; event !== undefined && event.atUs <= untilUs; event = this.#heap[0]) {
      this.#pop();
      this.nowUs = event.atUs;
      if (!event.cancelled) event.action();
    }
    this.nowUs = untilUs;
  }

  #push(event: Event): void {
    const heap = this.#heap;
    let at = heap.length;
    heap.push(event);
    while (at > 0) {
      const above = (at - 1) >> 1;
      const parent = heap[above];
      if (parent === undefined || isBefore(parent, event)) break;
      heap[at] = parent;
      at = above;
    }
    heap[at] = event;
  }

  #pop(): void {
    const heap = this.#heap;
    const last = heap.pop();
    if (last === undefined || heap.length === 0) return;
    let at = 0;
    for (;;) {
      const left = 2 * at + 1;
      const leftEvent = heap[left];
      if (leftEvent === undefined) break;
      const rightEvent = heap[left + 1];
      const isRight = rightEvent !== undefined && isBefore(rightEvent, leftEvent);
      const below = isRight ? rightEvent : leftEvent;
      if (isBefore(last, below)) break;
      heap[at] = below;
      at = isRight ? left + 1 : left;
    }
    heap[at] = last;
  }
}
