import type { BrokerContext } from "./context.ts";
import type { RunningListener } from "./listeners/listener.ts";
import type { Session } from "./session.ts";
import type { Counters } from "./stats.ts";

const topQueueCount = 10;

/** A session's queue, for "who holds memory and disk". */
export interface QueueHolder {
  readonly clientId: string;
  readonly owner: string;
  readonly connected: boolean;
  readonly messages: number;
  readonly bytes: number;
}

/** The broker in numbers, at one moment. */
export interface BrokerSnapshot {
  readonly startedAtMs: number;
  readonly listeners: readonly {
    readonly name: string;
    readonly url: string;
    readonly connections: number;
  }[];
  readonly connections: number;
  readonly clientsConnected: number;
  readonly sessions: number;
  readonly sessionsDisconnected: number;
  readonly subscriptions: number;
  readonly retainedMessages: number;
  readonly retainedBytes: number;
  readonly queuedMessages: number;
  readonly queuedBytes: number;
  readonly queuedMemoryBytes: number;
  readonly outboundBytes: number;
  readonly wills: number;
  readonly largestQueues: readonly QueueHolder[];
  readonly counters: Counters;
}

export function takeSnapshot(
  context: BrokerContext,
  parts: {
    readonly listeners: readonly RunningListener[];
    readonly outboundBytes: number;
    readonly wills: number;
  },
): BrokerSnapshot {
  const { size } = context.sessions;
  let clientsConnected = 0;
  for (const { connection } of context.sessions.values()) if (connection !== undefined) clientsConnected += 1;
  return {
    startedAtMs: context.stats.startedAtMs,
    listeners: parts.listeners.map(({ name, url, connectionCount }) => ({
      name,
      url,
      connections: connectionCount,
    })),
    connections: context.connectionCount,
    clientsConnected,
    sessions: size,
    sessionsDisconnected: size - clientsConnected,
    subscriptions: context.topics.tree.count,
    retainedMessages: context.retained.count,
    retainedBytes: context.retained.bytes,
    queuedMessages: context.queuedCount,
    queuedBytes: context.queuedBytes,
    queuedMemoryBytes: context.queuedMemoryBytes,
    outboundBytes: parts.outboundBytes,
    wills: parts.wills,
    largestQueues: largestQueues(context.sessions.values()),
    counters: context.stats.copy(),
  };
}

/** Keeps the largest it has come by: all sessions in order would take as long as a hundred looks at each. */
function largestQueues(sessions: Iterable<Session>): QueueHolder[] {
  const largest: Session[] = [];
  for (const session of sessions) {
    const { waitingCount, waitingBytes } = session.outbox;
    if (waitingCount === 0) continue;
    if (largest.length === topQueueCount && waitingBytes <= (largest.at(-1)?.outbox.waitingBytes ?? 0))
      continue;
    const place = largest.findIndex(({ outbox }) => outbox.waitingBytes < waitingBytes);
    largest.splice(place < 0 ? largest.length : place, 0, session);
    largest.length = Math.min(largest.length, topQueueCount);
  }
  return largest.map(({ clientId, owner, connection, outbox }) => ({
    clientId,
    owner,
    connected: connection !== undefined,
    messages: outbox.waitingCount,
    bytes: outbox.waitingBytes,
  }));
}
