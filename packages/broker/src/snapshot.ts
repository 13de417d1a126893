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
  const sessions = [...context.sessions.values()];
  const clientsConnected = sessions.filter(({ connection }) => connection !== undefined).length;
  return {
    startedAtMs: context.stats.startedAtMs,
    listeners: parts.listeners.map(({ name, url, connectionCount }) => ({
      name,
      url,
      connections: connectionCount,
    })),
    connections: context.connectionCount,
    clientsConnected,
    sessions: sessions.length,
    sessionsDisconnected: sessions.length - clientsConnected,
    subscriptions: context.topics.tree.count,
    retainedMessages: context.retained.count,
    retainedBytes: context.retained.bytes,
    queuedMessages: context.queuedCount,
    queuedBytes: context.queuedBytes,
    queuedMemoryBytes: context.queuedMemoryBytes,
    outboundBytes: parts.outboundBytes,
    wills: parts.wills,
    largestQueues: largestQueues(sessions),
    counters: context.stats.copy(),
  };
}

function largestQueues(sessions: readonly Session[]): QueueHolder[] {
  return sessions
    .filter(({ outbox }) => outbox.waitingCount > 0)
    .toSorted((a, b) => b.outbox.waitingBytes - a.outbox.waitingBytes)
    .slice(0, topQueueCount)
    .map(({ clientId, owner, connection, outbox }) => ({
      clientId,
      owner,
      connected: connection !== undefined,
      messages: outbox.waitingCount,
      bytes: outbox.waitingBytes,
    }));
}
