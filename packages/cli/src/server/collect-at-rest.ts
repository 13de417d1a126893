import { getHeapStatistics } from "node:v8";

/** How often a server is looked at, and in how many looks on end nothing may have come since the one before for it to be at rest. */
const lookMs = 500;
const restLooks = 2;
/** So many connections more than there were before are worth a collection, when they stay. */
const connectionsMin = 256;
/** Of a larger heap it would take seconds, and what there is to gain is little beside it: only when nobody is there. */
const heapBytesMax = 128 * 1_048_576;

/** What is asked of the broker. */
export interface Rest {
  readonly connectionCount: number;
  counters(): { readonly bytesReceived: number; readonly connectionsAccepted: number };
}

/**
 * Gives back what a start has left behind, 30 to 40 MB of 180, and what many connections that came and stay have: mostly the space for
 * new objects, which has grown to 32 MB while they came, and which the runtime gives back only when it is made to. It is done while
 * nothing comes that would have to wait, 0.1 to 0.4 s.
 *
 * Not for connections that come and go: there is little to gain, and some compiled code is lost, so that the next 2,000 connections cost
 * half as much again.
 */
export class CollectAtRest implements Disposable {
  readonly #rest: Rest;
  readonly #collect: NodeJS.GCFunction | undefined;
  readonly #timer: NodeJS.Timeout;
  /** Bytes and connections: grows with all that comes. */
  #received = -1;
  /** Looks on end in which nothing had come. */
  #looks = 0;
  /** How many connections there were when it was last worth it; fewer when they have gone. */
  #connections = -connectionsMin;

  constructor(rest: Rest, collect = globalThis.gc) {
    this.#rest = rest;
    this.#collect = collect;
    this.#timer = setInterval(() => this.#look(), lookMs).unref();
  }

  [Symbol.dispose](): void {
    clearInterval(this.#timer);
  }

  #look(): void {
    const { connectionCount } = this.#rest;
    const { bytesReceived, connectionsAccepted } = this.#rest.counters();
    const received = bytesReceived + connectionsAccepted;
    this.#looks = received === this.#received ? this.#looks + 1 : 0;
    this.#received = received;
    this.#connections = Math.min(this.#connections, connectionCount);
    if (this.#looks < restLooks || connectionCount - this.#connections < connectionsMin) return;
    this.#connections = connectionCount;
    if (connectionCount === 0 || getHeapStatistics().used_heap_size <= heapBytesMax)
      this.#collect?.({ type: "major", execution: "sync", flavor: "last-resort" });
  }
}
