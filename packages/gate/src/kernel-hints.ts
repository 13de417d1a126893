import type { Clock } from "@postern/core/clock";
import { errorText } from "@postern/core/errors";
import type { Log } from "@postern/core/log";
import type { HintTable, HintedDevice } from "@postern/knock/spa1/hint-table";
import { clocklessEpoch } from "@postern/knock/spa1/keys";

import type { KnownHint } from "./nftables/nftables-firewall.ts";

const hourSeconds = 3_600;

export type KernelHintsOptions = {
  readonly table: Pick<HintTable<HintedDevice>, "hints" | "onHint">;
  readonly firewall: { addHints(hints: readonly KnownHint[]): Promise<void> };
  readonly clock: Clock;
  readonly log: Log;
};

/**
 * Tells the kernel the hints of devices as they are made, so that their packets come through a flood of others. The kernel
 * forgets each by itself, an hour after its hour, as the table does. A hint that the kernel does not know only falls under
 * the limits for all.
 */
export class KernelHints {
  readonly #options: KernelHintsOptions;
  #waiting: KnownHint[] = [];
  #isTelling = false;

  constructor(options: KernelHintsOptions) {
    this.#options = options;
    options.table.onHint = (hint, epoch) => this.#made(hint, epoch);
    this.tellAll();
  }

  /** Tells all again, after the kernel's rules were made anew. */
  tellAll(): void {
    for (const [hint, epoch] of this.#options.table.hints()) this.#made(hint, epoch);
  }

  #made(hint: Uint8Array, epoch: number): void {
    const seconds =
      epoch === clocklessEpoch
        ? // Told again each hour.
          2 * hourSeconds
        : (epoch + 2) * hourSeconds - this.#options.clock.wallMs() / 1_000;
    if (seconds <= 0) return;
    this.#waiting.push({ hint, seconds, again: epoch === clocklessEpoch });
    if (this.#isTelling) return;
    this.#isTelling = true;
    setImmediate(() => void this.#tell());
  }

  async #tell(): Promise<void> {
    const { firewall, log } = this.#options;
    while (this.#waiting.length > 0) {
      const hints = this.#waiting;
      this.#waiting = [];
      try {
        await firewall.addHints(hints);
      } catch (thrown) {
        log.warn(
          { error: errorText(thrown) },
          "the kernel does not take hints of devices: in a flood of knocks theirs may be lost",
        );
      }
    }
    this.#isTelling = false;
  }
}
