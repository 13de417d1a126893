import type { BrokerSnapshot } from "@postern/broker/snapshot";

import type { Status } from "../admin/protocol.ts";

/** What a status says beside the broker's own numbers. */
export interface StatusParts extends Pick<
  Status,
  | "version"
  | "workers"
  | "threads"
  | "data"
  | "logLevel"
  | "storeFailure"
  | "metricsUrl"
  | "rates"
  | "authentication"
  | "certificates"
  | "permissions"
> {
  /** Wall clock. */
  readonly nowMs: number;
}

/** A running server in the shape of the admin API. */
export function describeStatus(snapshot: BrokerSnapshot, { nowMs, ...parts }: StatusParts): Status {
  const { startedAtMs, listeners, connections, clientsConnected, counters } = snapshot;
  return {
    ...parts,
    pid: process.pid,
    startedAt: new Date(startedAtMs).toISOString(),
    uptimeSeconds: Math.max(0, Math.floor((nowMs - startedAtMs) / 1000)),
    memoryBytes: process.memoryUsage.rss(),
    listeners: [...listeners],
    clients: { connected: clientsConnected, connections },
    sessions: {
      total: snapshot.sessions,
      disconnected: snapshot.sessionsDisconnected,
      subscriptions: snapshot.subscriptions,
    },
    queues: {
      messages: snapshot.queuedMessages,
      bytes: snapshot.queuedBytes,
      memoryBytes: snapshot.queuedMemoryBytes,
      largest: [...snapshot.largestQueues],
    },
    retained: { messages: snapshot.retainedMessages, bytes: snapshot.retainedBytes },
    counters: { ...counters },
  };
}
