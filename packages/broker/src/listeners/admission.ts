import type { Socket } from "node:net";

import { sourceOf } from "@postern/core/source";

import type { BrokerContext } from "../context.ts";
import type { Limits } from "../limits.ts";
import { isLoopback } from "./loopback.ts";

/**
 * Handshakes begun in one turn of the event loop; a TLS handshake costs about a millisecond. The rest waits for the next turn,
 * so that a reconnecting fleet does not keep those waiting who are already there.
 */
export const startsPerTurnMax = 16;
/** How often those are looked at who wait for their rate. */
const restMs = 10;
/** How long the counters of a source without connections are kept: its burst is full again by then. */
const forgetMs = 2_000;
/** A source that keeps running into a limit is told of once in this time. */
const tellMs = 10_000;

/** A connection as far as it is counted: a socket of this thread, or what stands for one in another. */
export interface Caller {
  readonly remoteAddress?: string | undefined;
  readonly destroyed: boolean;
  destroy(): unknown;
  on(event: "close" | "error", listener: () => void): unknown;
}

/** A connection that was let in. */
export interface Admitted<C extends Caller = Socket> {
  readonly socket: C;
  /** CONNECT was accepted: the connection counts as half open no more. */
  proven(): void;
}

/** What a listener lets in, and what becomes of it. */
export interface Gate<C extends Caller = Socket> {
  readonly name: string;
  readonly limits: Limits;
  /**
   * Addresses of this machine itself (loopback, Unix sockets) count as a source of their own only where this says so: there one
   * address stands for many programs.
   */
  readonly countsLoopback: boolean;
  start(admitted: Admitted<C>): void;
}

/** Asks whether a socket may come in; see `Admission.enter`. */
export interface Door {
  enter(socket: Socket, gate: Gate): boolean;
}

/** One source's connections; all that are not counted by source are those of the empty one, without limits. */
class Source {
  readonly key: string;
  connections = 0;
  halfOpen = 0;
  /** Accepted, and not begun. In the order in which they came. */
  readonly waiting: Entrance[] = [];
  #tokens = Number.MAX_SAFE_INTEGER;
  #filledMs: number;
  lastMs: number;
  toldMs = -Infinity;

  constructor(key: string, nowMs: number) {
    this.key = key;
    this.#filledMs = nowMs;
    this.lastMs = nowMs;
  }

  /** Takes the right to begin one handshake, if the rate (0: any) allows it now; a burst of one second is allowed. */
  take(perSecond: number, nowMs: number): boolean {
    if (perSecond === 0) return true;
    const refill = ((nowMs - this.#filledMs) * perSecond) / 1_000;
    this.#tokens = Math.min(perSecond, this.#tokens + refill);
    this.#filledMs = nowMs;
    if (this.#tokens < 1) return false;
    this.#tokens -= 1;
    return true;
  }

  giveBack(): void {
    this.#tokens += 1;
  }
}

/** A connection from the moment the kernel hands it over. */
class Entrance<C extends Caller = Caller> implements Admitted<C> {
  readonly socket: C;
  readonly gate: Gate<C>;
  readonly source: Source;
  readonly acceptedMs: number;
  /** Its client has not proved yet who it is. */
  halfOpen = true;
  readonly #admission: Admission;

  constructor(admission: Admission, socket: C, gate: Gate<C>, source: Source, acceptedMs: number) {
    this.#admission = admission;
    this.socket = socket;
    this.gate = gate;
    this.source = source;
    this.acceptedMs = acceptedMs;
  }

  proven(): void {
    this.#admission.settle(this);
  }
}

/**
 * Counts connections, in all and for each source, from the first packet on: before TLS, before CONNECT. What is beyond a number is
 * cut; what is beyond a rate waits its turn, and sources take turns, so that one that floods delays itself.
 *
 *     accepted ──► waiting ──► begun (TLS, HTTP, CONNECT) ──► proven
 *        └ cut         └ cut when it takes too long  └ cut by connectTimeoutSeconds
 */
export class Admission implements Door {
  readonly #context: BrokerContext;
  readonly #sources = new Map<string, Source>();
  /** Sources with connections that wait, in the order of their turns. */
  #ring: Source[] = [];
  #startsLeft = startsPerTurnMax;
  #turn: NodeJS.Immediate | undefined;
  #rest: NodeJS.Timeout | undefined;
  readonly #total: Source;
  #sweptMs: number;

  constructor(context: BrokerContext) {
    this.#context = context;
    const nowMs = context.ports.clock.monotonicMs();
    this.#total = new Source("", nowMs);
    this.#sweptMs = nowMs;
  }

  /** Lets the socket in, now or when its turn comes, or cuts it and returns false. It must not be read before its gate starts it. */
  enter<C extends Caller>(socket: C, gate: Gate<C>): boolean {
    const { stats, ports } = this.#context;
    const nowMs = ports.clock.monotonicMs();
    const address = socket.remoteAddress ?? "";
    const isCounted = address !== "" && (gate.countsLoopback || !isLoopback(address));
    const source = this.#sourceOf(isCounted ? sourceOf(address) : "", nowMs);
    if (ports.doorkeeper?.mayConnect(address) === false) {
      stats.connectionsRefused += 1;
      this.#tell("nobody knocked", source, gate, address, nowMs);
      socket.destroy();
      return false;
    }
    const full = this.#problemOf(source, gate.limits);
    if (full !== undefined) {
      stats.connectionsRefused += 1;
      this.#tell(full, source, gate, address, nowMs);
      // Without a word: an answer would cost more than the connection did.
      socket.destroy();
      return false;
    }
    stats.connectionsAccepted += 1;
    const entrance = new Entrance(this, socket, gate, source, nowMs);
    this.#context.connectionCount += 1;
    this.#context.halfOpenCount += 1;
    source.connections += 1;
    source.halfOpen += 1;
    socket.on("close", () => this.#leave(entrance));
    // Until it is its turn nobody else listens for what may go wrong with it.
    socket.on("error", ignore);
    // Nearly always it is its turn at once.
    if (this.#ring.length === 0 && this.#startsLeft > 0 && this.#mayStart(entrance, nowMs)) {
      this.#begin(entrance);
      return true;
    }
    source.waiting.push(entrance);
    if (source.waiting.length === 1) this.#ring.push(source);
    this.#pump();
    return true;
  }

  /** Nothing is begun any more. */
  close(): void {
    clearImmediate(this.#turn);
    clearTimeout(this.#rest);
    this.#ring = [];
  }

  settle(entrance: Entrance): void {
    if (!entrance.halfOpen) return;
    entrance.halfOpen = false;
    entrance.source.halfOpen -= 1;
    this.#context.halfOpenCount -= 1;
  }

  #problemOf(source: Source, limits: Limits): keyof Limits | "closing" | undefined {
    const { closing, connectionCount, halfOpenCount, limits: overall } = this.#context;
    if (closing) return "closing";
    if (connectionCount >= overall.connectionsMax) return "connectionsMax";
    if (halfOpenCount >= overall.halfOpenMax) return "halfOpenMax";
    if (source.key === "") return undefined;
    if (source.connections >= limits.connectionsPerAddressMax) return "connectionsPerAddressMax";
    if (source.halfOpen >= limits.halfOpenPerAddressMax) return "halfOpenPerAddressMax";
    return undefined;
  }

  #tell(
    limit: string,
    source: Source,
    gate: { readonly name: string },
    address: string,
    nowMs: number,
  ): void {
    if (limit === "closing" || nowMs - source.toldMs < tellMs) return;
    source.toldMs = nowMs;
    this.#context.ports.audit.record({
      kind: "limit-reached",
      listener: gate.name,
      address,
      clientId: "",
      identity: "",
      detail: limit.includes(" ")
        ? `${limit}: connections are cut`
        : `${limit} is reached: connections are cut`,
    });
  }

  #sourceOf(key: string, nowMs: number): Source {
    if (nowMs - this.#sweptMs > forgetMs) this.#sweep(nowMs);
    let source = this.#sources.get(key);
    if (source === undefined) {
      source = new Source(key, nowMs);
      this.#sources.set(key, source);
    }
    source.lastMs = nowMs;
    return source;
  }

  #sweep(nowMs: number): void {
    this.#sweptMs = nowMs;
    for (const [key, source] of this.#sources)
      if (source.connections === 0 && nowMs - source.lastMs > forgetMs) this.#sources.delete(key);
  }

  #pump(): void {
    const nowMs = this.#context.ports.clock.monotonicMs();
    // Ends when it is nobody's turn now, each source having been asked.
    for (let resting = 0; resting < this.#ring.length && this.#startsLeft > 0;) {
      const source = this.#ring.shift();
      if (source === undefined) break;
      const begun = this.#startNext(source, nowMs);
      if (source.waiting.length > 0) this.#ring.push(source);
      resting = begun ? 0 : resting + 1;
    }
    if (this.#ring.length === 0) return;
    if (this.#startsLeft === 0) this.#nextTurn();
    else this.#rest ??= setTimeout(() => this.#rested(), restMs).unref();
  }

  /** Begins the first connection of the source that is still there; false when its rate, or that of all, says to wait. */
  #startNext(source: Source, nowMs: number): boolean {
    for (let entrance = source.waiting[0]; entrance !== undefined; entrance = source.waiting[0]) {
      const { gate, socket, acceptedMs } = entrance;
      const late = nowMs - acceptedMs > gate.limits.connectTimeoutSeconds * 2_000;
      if (late || socket.destroyed) {
        if (late) this.#context.stats.connectionsRefused += 1;
        source.waiting.shift();
        socket.destroy();
        continue;
      }
      if (!this.#mayStart(entrance, nowMs)) return false;
      source.waiting.shift();
      this.#begin(entrance);
      return true;
    }
    return true;
  }

  /** Takes the right to begin a connection, of its source's rate and of that of all. */
  #mayStart({ source, gate }: Entrance, nowMs: number): boolean {
    const perSecond = source.key === "" ? 0 : gate.limits.connectionsPerSecondPerAddressMax;
    if (!this.#total.take(this.#context.limits.connectionsPerSecondTotalMax, nowMs)) return false;
    if (source.take(perSecond, nowMs)) return true;
    this.#total.giveBack();
    return false;
  }

  #begin(entrance: Entrance): void {
    this.#startsLeft -= 1;
    // Only what is left for this turn may be too many: an immediate for each that comes by itself is for nothing.
    if (this.#startsLeft <= startsPerTurnMax / 2) this.#nextTurn();
    entrance.gate.start(entrance);
  }

  #nextTurn(): void {
    this.#turn ??= setImmediate(() => {
      this.#turn = undefined;
      this.#startsLeft = startsPerTurnMax;
      this.#pump();
    });
  }

  #rested(): void {
    this.#rest = undefined;
    this.#pump();
  }

  #leave(entrance: Entrance): void {
    this.settle(entrance);
    this.#context.connectionCount -= 1;
    entrance.source.connections -= 1;
  }
}

function ignore(): void {}
