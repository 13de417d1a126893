import { availableParallelism } from "node:os";

import type { BrokerOptions } from "@postern/broker/context";

import type { Configuration } from "../config/configuration.ts";
import { workersMax } from "../config/schema.ts";

/**
 * The threads that connections may be spread over. `auto`: one for each core less one, at least one; those beside the first start
 * when there is work for them, since a message that changes threads costs more than one that does not.
 */
export function threadsOf(
  workers: Configuration["workers"],
  { cores = availableParallelism(), platform = process.platform } = {},
): Pick<BrokerOptions, "workers" | "workersWhenBusy"> {
  if (workers !== "auto") return { workers, workersWhenBusy: false };
  // Elsewhere the system does not spread connections over those that listen on one port.
  const count = platform === "linux" ? Math.min(workersMax, cores - 1) : 1;
  return { workers: Math.max(1, count), workersWhenBusy: true };
}
