import type { Log } from "@postern/core/log";
import { errorText } from "@postern/core/errors";

import type { Inspection } from "./nftables/nftables-firewall.ts";

/** How often the kernel is asked for the number of its last change: some microseconds, and an eighth of what an exposure may last. */
const defaultIntervalMs = 250;

export type WatchOptions = {
  readonly log: Log;
  /** Called when hidden ports may be open to all, and nothing can be done about it from here; and when they no longer are. */
  readonly onExposed: (isExposed: boolean) => void;
  /** Called after the rules were made anew: what the kernel knew beside windows and bans, such as hints, is gone. */
  readonly onRepaired?: () => void;
  readonly intervalMs?: number;
};

/** Has the firewall look after its rules until disposed. Each change by others is mended and logged; one that cannot be is told. */
export function watchFirewall(firewall: { inspect(): Inspection }, options: WatchOptions): Disposable {
  const { log, onExposed, onRepaired, intervalMs = defaultIntervalMs } = options;
  let isExposed = false;
  const look = (): void => {
    const inspection = firewall.inspect();
    if (inspection.kind === "repaired") {
      log.warn(
        { event: "firewall_repaired", found: inspection.found },
        "firewall rules were changed from outside, and are ours again",
      );
      onRepaired?.();
    }
    if (inspection.kind === "exposed" && !isExposed) {
      log.error(
        { event: "firewall_exposed", found: inspection.found, cause: errorText(inspection.cause) },
        "hidden ports may be open: firewall rules were changed from outside and cannot be mended",
      );
    }
    const exposed = inspection.kind === "exposed";
    if (exposed === isExposed) return;
    isExposed = exposed;
    onExposed(exposed);
  };
  const timer = setInterval(look, intervalMs);
  return { [Symbol.dispose]: () => clearInterval(timer) };
}
