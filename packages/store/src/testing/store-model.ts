import {
  type LoadedQueueEntry,
  messageBytes,
  type QueueEntry,
  QueueState,
  type StoredMessage,
  type StoredSession,
  type StoredSubscription,
  type StoredWill,
} from "@postern/core/session-store";

import { plainEntry, plainMessage } from "./fixtures.ts";

interface ModelSession {
  readonly session: StoredSession;
  readonly subscriptions: ReadonlyMap<string, StoredSubscription>;
  readonly inbound: ReadonlySet<number>;
  readonly queue: readonly LoadedQueueEntry[];
  readonly nextPosition: number;
}

/** What a session store is to hold, as simply as it can be said: plain values, replaced and never changed. */
export interface StoreModel {
  readonly sessions: ReadonlyMap<number, ModelSession>;
  readonly retained: ReadonlyMap<string, StoredMessage>;
  readonly wills: ReadonlyMap<number, StoredWill>;
  readonly accepted: ReadonlyMap<string, Buffer>;
  readonly nextSessionNumber: number;
}

export const emptyModel: StoreModel = {
  sessions: new Map(),
  retained: new Map(),
  wills: new Map(),
  accepted: new Map(),
  nextSessionNumber: 1,
};

export function withSession(model: StoreModel, number: number, session: StoredSession): StoreModel {
  const fresh: ModelSession = {
    session,
    subscriptions: new Map(),
    inbound: new Set(),
    queue: [],
    nextPosition: 1,
  };
  return {
    ...model,
    sessions: new Map(model.sessions).set(number, { ...(model.sessions.get(number) ?? fresh), session }),
    nextSessionNumber: Math.max(model.nextSessionNumber, number + 1),
  };
}

export function withoutSession(model: StoreModel, number: number): StoreModel {
  return { ...model, sessions: without(model.sessions, number) };
}

export function changeSession(
  model: StoreModel,
  number: number,
  change: (session: ModelSession) => Partial<ModelSession>,
): StoreModel {
  const session = model.sessions.get(number);
  if (session === undefined) return model;
  return { ...model, sessions: new Map(model.sessions).set(number, { ...session, ...change(session) }) };
}

export function withEntry(
  model: StoreModel,
  number: number,
  entry: QueueEntry,
  body: StoredMessage,
): StoreModel {
  const message = entry.state === QueueState.released ? null : body;
  return changeSession(model, number, ({ queue }) => ({
    queue: [...queue, { ...entry, message }],
    nextPosition: entry.position + 1,
  }));
}

/** `change` returns `undefined` to remove the entry. */
export function changeEntry(
  model: StoreModel,
  place: { readonly number: number; readonly position: number },
  change: (entry: LoadedQueueEntry) => LoadedQueueEntry | undefined,
): StoreModel {
  return changeSession(model, place.number, ({ queue }) => ({
    queue: queue.flatMap((entry) => (entry.position === place.position ? (change(entry) ?? []) : entry)),
  }));
}

export function without<Key, Value>(map: ReadonlyMap<Key, Value>, key: Key): Map<Key, Value> {
  const copy = new Map(map);
  copy.delete(key);
  return copy;
}

/** As `dump` gives it for a store. */
export function dumpModel(model: StoreModel): object {
  const sessions = [...model.sessions].map(
    ([number, { session, subscriptions, inbound, queue, nextPosition }]) => {
      const kept = queue.flatMap(({ message }) => message ?? []);
      return {
        number,
        session,
        subscriptions: sorted(subscriptions),
        inboundPacketIds: [...inbound].sort((left, right) => left - right),
        counters: {
          queuedCount: kept.length,
          queuedBytes: kept.reduce((sum, message) => sum + messageBytes(message), 0),
          nextPosition,
        },
        queue: queue.map(plainEntry),
      };
    },
  );
  return {
    sessions: sessions.sort((left, right) => left.number - right.number),
    retained: sorted(model.retained).map(([topic, message]) => [topic, plainMessage(message)]),
    wills: [...model.wills]
      .sort(([left], [right]) => left - right)
      .map(([number, will]) => ({ number, will: { ...will, message: plainMessage(will.message) } })),
    accepted: sorted(model.accepted),
    nextSessionNumber: model.nextSessionNumber,
  };
}

function sorted<Value>(map: ReadonlyMap<string, Value>): [string, Value][] {
  return [...map].sort(([left], [right]) => (left < right ? -1 : Number(left > right)));
}
