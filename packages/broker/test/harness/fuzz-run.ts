import assert from "node:assert/strict";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";

import { MemorySessionStore } from "@postern/store/memory-session-store";

import type { Limits } from "../../src/limits.ts";
import type { AuditLog } from "../../src/ports.ts";
import { authorizerBy, permissionsBy } from "../../src/testing/open-broker.ts";
import { publishPacket, request, subscribePacket } from "../../src/testing/packets.ts";
import { Random } from "../../src/testing/random.ts";
import { FuzzClient } from "./fuzz-client.ts";
import { HonestClients, honestPrefix } from "./honest-clients.ts";
import { nextTurn, Stage } from "./stage.ts";

/** Small enough for each to be reached. */
const limits: Partial<Limits> = {
  receiveMaximum: 10,
  topicAliasMaximum: 16,
  outboundBytesMax: 100_000,
  outboundBytesTotalMax: 1_000_000,
  queuedMessagesMax: 50,
  queuedBytesMax: 100_000,
  queuedMemoryBytesTotalMax: 1_000_000,
  retainedMessagesMax: 40,
  subscriptionsPerSessionMax: 12,
  filtersPerSubscribeMax: 3,
  packetBytesMax: 15_000,
  topicLevelsMax: 9,
  userPropertiesMax: 2,
};

/** Some topics are nobody's but the honest clients'; some may be written, or read, by nobody. */
const authorizer = authorizerBy(({ clientId }) => {
  // Of a retained message only the publisher's name is known, which all share.
  const isHonest = clientId === "" || clientId.startsWith("honest-") || clientId === "sweeper";
  return permissionsBy({
    mayPublish: (topic, qos) =>
      isHonest ||
      (!topic.startsWith(honestPrefix) && !topic.startsWith("$") && !(topic === "f/b" && qos === 2)),
    maySubscribe: (filter) => isHonest || filter !== "f/+/b",
    mayReceive: (topic) => isHonest || topic !== "f//b",
  });
});

/** Remembers nothing: what is measured in the end is the broker's memory. */
const audit: AuditLog = { record() {} };

const clientsAtOnce = 12;

export interface FuzzReport {
  readonly packets: number;
  readonly connections: number;
  readonly rounds: number;
  /** Bytes of heap in use after collection, one after each tenth of the run. */
  readonly heapBytes: readonly number[];
}

/**
 * Has many clients send at least `packetCount` packets, most of them legal, many not, in rounds; after each the honest
 * clients must have got all they are owed and the books must agree. In the end nothing may be left.
 * Throws what is wrong together with what the connections had sent.
 */
export async function runFuzz(seed: number, packetCount: number): Promise<FuzzReport> {
  const random = new Random(seed);
  const store = new MemorySessionStore();
  await using stage = await Stage.open(store, { limits, ports: { authorizer, audit } });
  const honest = await HonestClients.join(stage.address);
  const run = new FuzzRun(stage, honest, random);
  const heapBytes: number[] = [];
  try {
    while (run.packets < packetCount) {
      await run.round();
      if (run.packets >= ((heapBytes.length + 1) * packetCount) / 10) heapBytes.push(collectedHeapBytes());
    }
    await run.endEverything();
  } catch (error) {
    throw new Error(`seed ${seed}, round ${run.rounds}, after ${run.packets} packets:\n${run.lastSent()}`, {
      cause: error,
    });
  }
  const { packets, connections, rounds } = run;
  return { packets, connections, rounds, heapBytes };
}

class FuzzRun {
  readonly #stage: Stage<MemorySessionStore>;
  readonly #honest: HonestClients;
  readonly #random: Random;
  #clients: readonly FuzzClient[] = [];
  packets = 0;
  connections = 0;
  rounds = 0;

  constructor(stage: Stage<MemorySessionStore>, honest: HonestClients, random: Random) {
    this.#stage = stage;
    this.#honest = honest;
    this.#random = random;
  }

  async round(): Promise<void> {
    const { address, clock } = this.#stage;
    this.rounds += 1;
    this.#clients = Array.from(
      { length: clientsAtOnce },
      () => new FuzzClient(address, this.#random.branch()),
    );
    const running = Promise.all(this.#clients.map((client) => client.run(this.#random.between(1, 300))));
    for (let bursts = 3; bursts > 0; bursts -= 1) {
      this.#honest.publish(2);
      await nextTurn();
      if (this.#random.chance(0.2)) clock.leap(this.#random.below(3_000));
    }
    await running;
    this.connections += clientsAtOnce;
    // Counted are those that the broker read: what follows the end of a connection proves nothing.
    const { packetsReceived } = this.#stage.broker.snapshot().counters;
    this.packets = packetsReceived - this.#honest.sentCount;
    assert.deepEqual(
      this.#clients.flatMap(({ fault }) => fault ?? []),
      [],
    );
    assert.deepEqual(await this.#honest.check(), []);
    await this.#quiet(this.#honest.count);
    this.#compareBooks();
  }

  /** What each connection of the last round sent last. */
  lastSent(): string {
    return this.#clients.map(({ log }, index) => `client ${index}:\n  ${log.join("\n  ")}`).join("\n");
  }

  /** Everybody leaves, everything expires, every retained message is cleared: then nothing may be left. */
  async endEverything(): Promise<void> {
    const { broker, store, clock, address } = this.#stage;
    await this.#honest.leave(address);
    const deadline = performance.now() + 10_000;
    while (broker.snapshot().sessions + broker.snapshot().wills > 0 && performance.now() < deadline) {
      clock.leap(40 * 24 * 3_600_000);
      await new Promise((done) => setTimeout(done, 50));
    }
    await this.#sweepRetained();
    await this.#quiet(0);
    const { sessions, subscriptions, queuedMessages, queuedBytes, queuedMemoryBytes } = broker.snapshot();
    const { wills, retainedMessages, retainedBytes } = broker.snapshot();
    assert.deepEqual(
      {
        sessions,
        subscriptions,
        queuedMessages,
        queuedBytes,
        queuedMemoryBytes,
        wills,
        retainedMessages,
        retainedBytes,
      },
      {
        sessions: 0,
        subscriptions: 0,
        queuedMessages: 0,
        queuedBytes: 0,
        queuedMemoryBytes: 0,
        wills: 0,
        retainedMessages: 0,
        retainedBytes: 0,
      },
    );
    assert.deepEqual([...store.loadSessions()], []);
    assert.deepEqual([...store.loadWills()], []);
    assert.deepEqual([...store.loadRetained()], []);
    assert.equal(store.bodyCount(), 0);
  }

  /** Only `connections` are left, and nothing is on its way to them. */
  async #quiet(connections: number): Promise<void> {
    const { broker } = this.#stage;
    const deadline = performance.now() + 10_000;
    const isQuiet = (): boolean => {
      const snapshot = broker.snapshot();
      return snapshot.connections === connections && snapshot.outboundBytes === 0;
    };
    while (!isQuiet() && performance.now() < deadline) await nextTurn();
    const { outboundBytes, connections: left, clientsConnected } = broker.snapshot();
    assert.deepEqual(
      { left, outboundBytes, clientsConnected },
      {
        left: connections,
        outboundBytes: 0,
        clientsConnected: connections,
      },
    );
  }

  /** What the broker counts in memory is what the store holds. */
  #compareBooks(): void {
    const { broker, store } = this.#stage;
    const {
      sessions,
      queuedMessages,
      queuedBytes,
      subscriptions,
      retainedMessages,
      wills,
      queuedMemoryBytes,
    } = broker.snapshot();
    const stored = [...store.loadSessions()];
    const kept = this.#honest.count / 2;
    const sum = (of: (session: (typeof stored)[number]) => number): number =>
      stored.reduce((total, session) => total + of(session), 0);
    assert.deepEqual(
      {
        sessions,
        queuedMessages,
        queuedBytes,
        subscriptions,
        retainedMessages,
        wills,
        queuedMemoryBytes,
      },
      {
        // Half of the honest clients have a session that is not stored, with one subscription.
        sessions: stored.length + kept,
        queuedMessages: sum((session) => session.queuedCount),
        queuedBytes: sum((session) => session.queuedBytes),
        subscriptions: sum((session) => session.subscriptions.size) + kept,
        retainedMessages: [...store.loadRetained()].length,
        wills: [...store.loadWills()].length,
        queuedMemoryBytes: 0,
      },
    );
  }

  async #sweepRetained(): Promise<void> {
    const sweeper = await this.#stage.client("sweeper", 5);
    for (const { topic } of this.#stage.store.loadRetained()) {
      sweeper.send(publishPacket(5, { topic, payload: "", retain: true }));
    }
    await sweeper.ping();
    sweeper.send(subscribePacket(5, 1, [request("#", 0)]));
    await sweeper.take("suback");
    await sweeper.ping();
    assert.deepEqual(sweeper.received, [], "a retained message came although all were cleared");
    await this.#stage.cut(sweeper);
  }
}

/** Bytes in use after a full garbage collection. */
function collectedHeapBytes(): number {
  setFlagsFromString("--expose-gc");
  runInNewContext("gc")();
  return process.memoryUsage().heapUsed;
}
