/** Time that a broadcast is remembered. @see Zigbee §3.6.5 nwkBroadcastDeliveryTime */
const rememberedUs = 9_000_000;

/** What a router does with a broadcast. */
export type BroadcastVerdict = "new" | "known" | "table-full" | "rate-limited";

interface Remembered {
  readonly source: number;
  readonly atUs: number;
  /** Neighbours that were heard relaying it. */
  relays: number;
}

/** The broadcasts of the last seconds, so that each is relayed once. A full table drops what is new. @see Zigbee §3.6.5 */
export class BroadcastTable {
  readonly #entries = new Map<number, Remembered>();
  readonly #entriesMax: number;
  readonly #eachSourceMax: number;
  /** Most entries at a time. */
  peak = 0;
  dropped = 0;

  /** `eachSourceMax`: how many entries one source may fill. */
  constructor(entriesMax: number, eachSourceMax: number) {
    this.#entriesMax = entriesMax;
    this.#eachSourceMax = eachSourceMax;
  }

  see(source: number, sequence: number, nowUs: number): BroadcastVerdict {
    for (const [key, { atUs }] of this.#entries) {
      if (nowUs - atUs < rememberedUs) break;
      this.#entries.delete(key);
    }
    const key = source * 256 + sequence;
    const known = this.#entries.get(key);
    if (known !== undefined) {
      known.relays++;
      return "known";
    }
    const own = [...this.#entries.values()].filter((entry) => entry.source === source).length;
    const verdict =
      own >= this.#eachSourceMax
        ? "rate-limited"
        : this.#entries.size >= this.#entriesMax
          ? "table-full"
          : "new";
    if (verdict !== "new") {
      this.dropped++;
      return verdict;
    }
    this.#entries.set(key, { source, atUs: nowUs, relays: 0 });
    this.peak = Math.max(this.peak, this.#entries.size);
    return "new";
  }

  /** How many neighbours were heard relaying it: the passive acknowledgement. */
  relays(source: number, sequence: number): number {
    return this.#entries.get(source * 256 + sequence)?.relays ?? 0;
  }
}
