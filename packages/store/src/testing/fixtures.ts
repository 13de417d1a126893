import {
  type LoadedQueueEntry,
  type LoadedSession,
  type QueueEntry,
  QueueState,
  type SessionStore,
  type StoredMessage,
  type StoredSession,
  type StoredSubscription,
  type StoredWill,
} from "@postern/core/session-store";

/** What a suite is given to try. */
export interface StoreUnderTest {
  readonly store: SessionStore;
  /** Ends the store as a crash at this moment would, and opens what is left. */
  crash(): Promise<StoreUnderTest>;
  /** Closes the store and opens it again. */
  reopen(): Promise<StoreUnderTest>;
  /** How many message bodies are kept, when everything is committed and swept out. */
  bodyCount(): Promise<number>;
  /** Ends the store for good and takes its data away. */
  dispose(): Promise<void>;
}

export function message(topic: string, payload: Uint8Array = Buffer.from(topic)): StoredMessage {
  return {
    topic,
    payload,
    qos: 1,
    properties: Buffer.from([0x01, 0x01]),
    publishedAtMs: 1_700_000_000_123,
    expiresAtMs: Infinity,
    publisher: "sensor-7",
  };
}

export function session(clientId = "client"): StoredSession {
  return { clientId, owner: "device-7", protocolVersion: 5, expirySeconds: 3600, disconnectedAtMs: null };
}

export const subscription: StoredSubscription = {
  qos: 2,
  noLocal: true,
  retainAsPublished: false,
  retainHandling: 2,
  identifier: 268_435_455,
};

export function will(topic: string): StoredWill {
  return { clientId: "client", message: message(topic), retain: true, delaySeconds: 30, dueAtMs: null };
}

/** A queued entry of QoS 1. */
export function entry(
  position: number,
  messageNumber: number,
  changes: Partial<QueueEntry> = {},
): QueueEntry {
  const plain = {
    state: QueueState.queued,
    packetId: 0,
    qos: 1,
    retain: false,
    subscriptionIdentifiers: [],
  } as const;
  return { position, messageNumber, ...plain, ...changes };
}

/** Adds one message and one queued entry for it. */
export function queue(
  store: SessionStore,
  number: number,
  position: number,
  body = message(`t/${position}`),
): void {
  store.enqueue(number, entry(position, store.addMessage(body)));
}

/** Resolves when the open group is on disk; rejects with the error that prevented it. */
export async function commit(store: SessionStore): Promise<void> {
  const error = await new Promise<Error | undefined>((resolve) => store.commit(resolve));
  if (error !== undefined) throw error;
}

export function readAll(store: SessionStore, number: number): LoadedQueueEntry[] {
  return store.readQueue(number, { fromPosition: 0, countMax: Infinity, bytesMax: Infinity });
}

export function positions(entries: readonly LoadedQueueEntry[]): number[] {
  return entries.map(({ position }) => position);
}

export function load(store: SessionStore, number: number): LoadedSession | undefined {
  return [...store.loadSessions()].find((loaded) => loaded.number === number);
}

/** A message whose bytes compare by value, whatever kind of array they came in. */
export function plainMessage(body: StoredMessage): object {
  return { ...body, payload: Buffer.from(body.payload), properties: Buffer.from(body.properties) };
}

export function plainEntry(loaded: LoadedQueueEntry): object {
  return { ...loaded, message: loaded.message === null ? null : plainMessage(loaded.message) };
}

/** Everything that can be read from a store, for comparing. */
export function dump(store: SessionStore): object {
  const sessions = Array.from(store.loadSessions(), (loaded) => {
    const { number, queuedCount, queuedBytes, nextPosition } = loaded;
    const subscriptions = sorted([...loaded.subscriptions]);
    const inboundPacketIds = [...loaded.inboundPacketIds].sort((left, right) => left - right);
    const entries = readAll(store, number).map(plainEntry);
    const counters = { queuedCount, queuedBytes, nextPosition };
    return { number, session: loaded.session, subscriptions, inboundPacketIds, counters, queue: entries };
  });
  return {
    sessions: sessions.sort((left, right) => left.number - right.number),
    retained: sorted([...store.loadRetained()].map((body) => [body.topic, plainMessage(body)])),
    wills: [...store.loadWills()]
      .map(({ number, will: loaded }) => ({
        number,
        will: { ...loaded, message: plainMessage(loaded.message) },
      }))
      .sort((left, right) => left.number - right.number),
    accepted: sorted([...store.loadAccepted()].map(({ sender, state }) => [sender, Buffer.from(state)])),
    nextSessionNumber: store.nextSessionNumber(),
  };
}

function sorted(pairs: (readonly [string, object])[]): (readonly [string, object])[] {
  return pairs.sort(([left], [right]) => (left < right ? -1 : Number(left > right)));
}
