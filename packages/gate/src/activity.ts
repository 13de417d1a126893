import type { GateStatus } from "./link/messages.ts";

/** Knocks that are remembered for those who watch. */
const knocksMax = 50;

type Knock = GateStatus["knocks"][number];

/** What the gate did, for `postern gate status`. */
export class Activity {
  /** Wall clock, ms. */
  readonly startedAtMs: number;
  readonly #counters = new Map<string, number>();
  readonly #knocks: Knock[] = [];

  constructor(startedAtMs: number) {
    this.startedAtMs = startedAtMs;
  }

  count(name: string): void {
    this.#counters.set(name, (this.#counters.get(name) ?? 0) + 1);
  }

  knocked({ device, ...knock }: Omit<Knock, "device"> & { readonly device: string | undefined }): void {
    this.#knocks.unshift({ ...knock, device: device ?? null });
    if (this.#knocks.length > knocksMax) this.#knocks.pop();
  }

  counters(): Record<string, number> {
    return Object.fromEntries(this.#counters);
  }

  /** The newest first. */
  knocks(): Knock[] {
    return [...this.#knocks];
  }
}
