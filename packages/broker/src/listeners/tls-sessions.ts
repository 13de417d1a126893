import { randomBytes } from "node:crypto";

import type { Clock } from "@postern/core/clock";

/** How clients may take up an earlier TLS session. What they proved then is looked at again at each CONNECT. */
export interface Resumption {
  /** By a ticket that the client keeps (RFC 5077; the only way in TLS 1.3, RFC 8446 §2.2). */
  readonly tickets: boolean;
  /** By an id, the session being kept here: for TLS 1.2 clients that know no tickets (RFC 5246 §7.3). */
  readonly ids: boolean;
  /** How long after its full handshake. */
  readonly seconds: number;
}

/** Sessions that are kept by their ids; the oldest gives way. One has the client's certificate in it: one to two KB. */
const sessionsMax = 4_096;
/** @see SSL_CTX_set_tlsext_ticket_keys(3): the key's name (16 bytes), and keys for HMAC and AES */
const ticketKeyBytes = 48;
const nameBytes = 16;

/** The keys of tickets at one moment. */
export interface TicketKeys {
  readonly keys: readonly [Uint8Array, Uint8Array];
  readonly generation: number;
  readonly overlaps: boolean;
}

interface Kept {
  readonly session: Buffer;
  readonly untilMs: number;
}

/**
 * The secrets of resumption: shared by all listeners with the same clients and the same `seconds`. The key of tickets changes
 * once in that time, and the one before stays good for as long again, so that each ticket is good for all of its life and no key for
 * more than twice that.
 */
export class TlsSessions {
  readonly resumption: Resumption;
  readonly #clock: Clock;
  /** By the parity of the generation. */
  #keys: readonly [Buffer, Buffer] = freshKeys();
  #generation = 0;
  /** The key before this one has not been dropped. */
  #overlaps = false;
  readonly #byId = new Map<string, Kept>();
  readonly #listeners = new Set<() => void>();
  readonly #timer: NodeJS.Timeout | undefined;

  /** One that `follows` another, in another thread, takes over the keys of that. */
  constructor(resumption: Resumption, clock: Clock, follows?: TicketKeys) {
    this.resumption = resumption;
    this.#clock = clock;
    if (follows !== undefined) this.follow(follows);
    else this.#timer = setInterval(() => this.rotate(), resumption.seconds * 1_000).unref();
  }

  /** The keys in use: the one for new tickets is that of `slot`. */
  get keys(): readonly [Buffer, Buffer] {
    return this.#keys;
  }

  get slot(): 0 | 1 {
    return this.#generation % 2 === 0 ? 0 : 1;
  }

  /** For those that follow. */
  get ticketKeys(): TicketKeys {
    return { keys: this.#keys, generation: this.#generation, overlaps: this.#overlaps };
  }

  /** Uses the same keys as another. */
  follow({ keys, generation, overlaps }: TicketKeys): void {
    this.#keys = [Buffer.from(keys[0]), Buffer.from(keys[1])];
    this.#generation = generation;
    this.#overlaps = overlaps;
    for (const listener of this.#listeners) listener();
  }

  /** Calls back whenever `keys` are others. */
  onChange(listener: () => void): void {
    this.#listeners.add(listener);
  }

  /** The slot whose key opens the ticket in a ClientHello, or the one for new tickets when there is none that we made. */
  slotOf(clientHello: Buffer): 0 | 1 {
    const other = this.slot === 0 ? 1 : 0;
    // The name stands before the ticket in the clear. Sixteen random bytes do not come up by chance, and naming a key opens nothing.
    return this.#overlaps && clientHello.includes(this.#keys[other].subarray(0, nameBytes))
      ? other
      : this.slot;
  }

  /** Whether there is a choice between keys to be made. */
  get overlaps(): boolean {
    return this.#overlaps;
  }

  /** The next key; the one before the last is forgotten. */
  rotate(): void {
    this.#generation += 1;
    const fresh = randomBytes(ticketKeyBytes);
    this.#keys = this.slot === 0 ? [fresh, this.#keys[1]] : [this.#keys[0], fresh];
    this.#overlaps = true;
    for (const listener of this.#listeners) listener();
  }

  /** Forgets all: nobody resumes anything that began before. */
  drop(): void {
    this.#keys = freshKeys();
    this.#overlaps = false;
    this.#byId.clear();
    for (const listener of this.#listeners) listener();
  }

  keep(id: Buffer, session: Buffer): void {
    const [oldest] = this.#byId.keys();
    if (this.#byId.size >= sessionsMax && oldest !== undefined) this.#byId.delete(oldest);
    const untilMs = this.#clock.monotonicMs() + this.resumption.seconds * 1_000;
    this.#byId.set(id.toString("base64"), { session, untilMs });
  }

  /** The session with this id, unless it is too old or not known. */
  find(id: Buffer): Buffer | undefined {
    const key = id.toString("base64");
    const kept = this.#byId.get(key);
    if (kept === undefined) return undefined;
    if (kept.untilMs > this.#clock.monotonicMs()) return kept.session;
    this.#byId.delete(key);
    return undefined;
  }

  close(): void {
    clearInterval(this.#timer);
    this.#listeners.clear();
    this.#byId.clear();
  }
}

function freshKeys(): readonly [Buffer, Buffer] {
  return [randomBytes(ticketKeyBytes), randomBytes(ticketKeyBytes)];
}
