/** What the server waits for on a packet id it gave out. */
export const InFlight = {
  none: 0,
  /** PUBLISH with QoS 1 sent: PUBACK outstanding. */
  puback: 1,
  /** PUBLISH with QoS 2 sent: PUBREC outstanding. */
  pubrec: 2,
  /** PUBREL sent: PUBCOMP outstanding. */
  pubcomp: 3,
} as const;
export type InFlight = (typeof InFlight)[keyof typeof InFlight];

const smallest = 8;
const packetIdMax = 65_535;
/** The tables of a window that was never used: most connections of a fleet only publish, or only wait. */
const unused = {
  words: new Uint16Array(0),
  bytes: new Uint8Array(0),
  floats: new Float64Array(0),
  sizes: new Uint32Array(0),
};

/**
 * The packet ids in flight from the server to one client: a power-of-two table indexed by the low bits of the id.
 *
 *     id 1 ─► slot 1      Ids are given out in sequence; an id whose slot is still taken by an old one that
 *     id 2 ─► slot 2      was not acknowledged is passed over. With fewer ids in flight than slots a free
 *     id 9 ─► slot 1      one is always found within one round of the table.
 */
export class PacketWindow {
  #mask = -1;
  #ids = unused.words;
  #states = unused.bytes;
  #positions = unused.floats;
  #bytes = unused.sizes;
  #lastId = 0;
  #count = 0;

  get count(): number {
    return this.#count;
  }

  /** Takes the next free id for a message of `bytes` at the queue position. The caller keeps `count` below 65,535. */
  open(state: InFlight, position: number, bytes: number): number {
    if (this.#count > this.#mask >> 1 && this.#mask < packetIdMax) this.#grow();
    let id = this.#lastId;
    do {
      id = id === packetIdMax ? 1 : id + 1;
    } while (this.#states[id & this.#mask] !== InFlight.none);
    this.#lastId = id;
    this.#write(id, state, position, bytes);
    return id;
  }

  /** Puts back an id that was in flight before the connection was lost. */
  restore(id: number, state: InFlight, position: number, bytes: number): void {
    while (this.#states[id & this.#mask] !== InFlight.none || this.#count > this.#mask >> 1) {
      if (this.#mask >= packetIdMax) break;
      this.#grow();
    }
    if (id > this.#lastId) this.#lastId = id;
    this.#write(id, state, position, bytes);
  }

  stateOf(id: number): InFlight {
    const slot = id & this.#mask;
    if (this.#ids[slot] !== id) return InFlight.none;
    return asInFlight(this.#states[slot]);
  }

  /** The queue position of an id that is in flight. */
  positionOf(id: number): number {
    return this.#positions[id & this.#mask] ?? 0;
  }

  /** The size of the message that is in flight under the id. */
  bytesOf(id: number): number {
    return this.#bytes[id & this.#mask] ?? 0;
  }

  setState(id: number, state: InFlight): void {
    this.#states[id & this.#mask] = state;
  }

  /** Frees an id that is in flight. */
  close(id: number): void {
    this.#states[id & this.#mask] = InFlight.none;
    this.#count -= 1;
  }

  /** How many messages are in flight whose body may have to be sent again, and their bytes. */
  unacknowledged(): { readonly count: number; readonly bytes: number } {
    let count = 0;
    let bytes = 0;
    for (const [slot, state] of this.#states.entries()) {
      if (state !== InFlight.puback && state !== InFlight.pubrec) continue;
      count += 1;
      bytes += this.#bytes[slot] ?? 0;
    }
    return { count, bytes };
  }

  #write(id: number, state: InFlight, position: number, bytes: number): void {
    const slot = id & this.#mask;
    this.#ids[slot] = id;
    this.#states[slot] = state;
    this.#positions[slot] = position;
    this.#bytes[slot] = bytes;
    this.#count += 1;
  }

  #grow(): void {
    const ids = this.#ids;
    const states = this.#states;
    const positions = this.#positions;
    const bytes = this.#bytes;
    const size = Math.max(smallest, ids.length * 2);
    this.#mask = size - 1;
    this.#ids = new Uint16Array(size);
    this.#states = new Uint8Array(size);
    this.#positions = new Float64Array(size);
    this.#bytes = new Uint32Array(size);
    this.#count = 0;
    for (const [slot, id] of ids.entries()) {
      const state = asInFlight(states[slot]);
      if (state !== InFlight.none) this.#write(id, state, positions[slot] ?? 0, bytes[slot] ?? 0);
    }
  }
}

const states = [InFlight.none, InFlight.puback, InFlight.pubrec, InFlight.pubcomp] as const;

function asInFlight(state: number | undefined): InFlight {
  return states[state ?? 0] ?? InFlight.none;
}
