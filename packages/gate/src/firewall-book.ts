import type { Clock } from "@postern/core/clock";
import type { IpSource } from "@postern/knock/ip-address";

import { FirewallFullError } from "./errors.ts";
import type { BannedSource, KernelWindow } from "./firewall.ts";

/** One way in: a window has one for each port. */
export type Opening = Omit<KernelWindow, "remainingSeconds">;

/** What stands in the book with a time: `untilMs` is of the monotonic clock. */
type Entry<Value> = { readonly value: Value; readonly untilMs: number };

/**
 * What the firewall was asked for and is not over: from it the kernel's tables are made again when somebody has emptied
 * them. Bounded: a window too many is refused, a ban too many takes the place of the oldest.
 */
export class FirewallBook {
  readonly #clock: Clock;
  readonly #windowsMax: number;
  readonly #bansMax: number;
  readonly #windows = new Map<string, Entry<Opening>>();
  readonly #bans = new Map<IpSource, Entry<IpSource>>();

  constructor(options: { readonly clock: Clock; readonly windowsMax: number; readonly bansMax: number }) {
    this.#clock = options.clock;
    this.#windowsMax = options.windowsMax;
    this.#bansMax = options.bansMax;
  }

  /** Throws `FirewallFullError` when no window can be added. */
  open(opening: Opening, seconds: number): void {
    const key = keyOf(opening);
    if (!this.#windows.has(key) && this.#windows.size >= this.#windowsMax) {
      this.sweep();
      if (this.#windows.size >= this.#windowsMax) {
        throw new FirewallFullError(
          `A window for ${opening.source} cannot be opened: ${this.#windowsMax} are open already.`,
        );
      }
    }
    this.#windows.set(key, { value: opening, untilMs: this.#until(seconds) });
  }

  close(opening: Opening): void {
    this.#windows.delete(keyOf(opening));
  }

  /** The ban that gave way to this one, if any. */
  ban(source: IpSource, seconds: number): IpSource | undefined {
    // Put in again, it stands behind all older ones.
    this.#bans.delete(source);
    if (this.#bans.size >= this.#bansMax) this.sweep();
    const oldest = this.#bans.size >= this.#bansMax ? this.#bans.keys().next().value : undefined;
    if (oldest !== undefined) this.#bans.delete(oldest);
    this.#bans.set(source, { value: source, untilMs: this.#until(seconds) });
    return oldest;
  }

  unban(source: IpSource): void {
    this.#bans.delete(source);
  }

  clear(): void {
    this.#windows.clear();
    this.#bans.clear();
  }

  windows(): KernelWindow[] {
    return this.#living(this.#windows).map(([{ source, sourcePort, port }, remainingSeconds]) => ({
      source,
      sourcePort,
      port,
      remainingSeconds,
    }));
  }

  bans(): BannedSource[] {
    return this.#living(this.#bans).map(([source, remainingSeconds]) => ({ source, remainingSeconds }));
  }

  /** Forgets what is over. */
  sweep(): void {
    const now = this.#clock.monotonicMs();
    for (const [key, { untilMs }] of this.#windows) if (untilMs <= now) this.#windows.delete(key);
    for (const [key, { untilMs }] of this.#bans) if (untilMs <= now) this.#bans.delete(key);
  }

  #until(seconds: number): number {
    return this.#clock.monotonicMs() + 1_000 * seconds;
  }

  #living<Value>(entries: ReadonlyMap<string, Entry<Value>>): [value: Value, remainingSeconds: number][] {
    const now = this.#clock.monotonicMs();
    return [...entries.values()]
      .filter(({ untilMs }) => untilMs > now)
      .map(({ value, untilMs }) => [value, (untilMs - now) / 1_000]);
  }
}

function keyOf({ source, sourcePort, port }: Opening): string {
  return `${source} ${sourcePort} ${port}`;
}
