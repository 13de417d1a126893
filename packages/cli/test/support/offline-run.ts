import { setTimeout as delay } from "node:timers/promises";

import { request } from "@postern/broker/testing/packets";
import { PersistentClient } from "@postern/broker/testing/persistent-client";
import type { Address } from "@postern/broker/testing/wire-client";

import { configured } from "./configurations.ts";
import { type Memory, MeasuredServer } from "./measured-server.ts";
import { scratch } from "./postern.ts";

const configuration = `
listeners:
  - url: mqtt://127.0.0.1:0
    anonymous: true
metrics: { url: "http://127.0.0.1:0" }
limits:
  queuedMessagesMax: 2000000
  queuedBytesMax: 4000000000
`;

const sampleMs = 50;
const everyone = "to/everyone";
/** Without progress for this long the run has failed. */
const patienceMs = 30_000;

export interface OfflineOptions {
  readonly sessions: number;
  /** Messages that every session gets. */
  readonly shared: number;
  /** Messages that one session gets alone. */
  readonly own: number;
  readonly payloadBytes: number;
}

export interface OfflineReport {
  /** Messages that waited, counted once for each session. */
  readonly queued: number;
  readonly queuedAfterKill: number;
  readonly publishMs: number;
  readonly restartMs: number;
  readonly drainMs: number;
  /** Before anything was published. */
  readonly memoryAtStart: Memory;
  /** The process's own memory, at its most, garbage included, in bytes. */
  readonly peakWhileQueueing: number;
  readonly peakWhileDraining: number;
  readonly leftOver: Readonly<Record<string, number>>;
  /** What came out of order, twice, or not at all. */
  readonly problems: readonly string[];
}

/** The session of a device that was away, and what it is owed. */
class Away {
  readonly client: PersistentClient;
  readonly #owed: ReadonlyMap<string, number>;
  readonly #arrived = new Map<string, number>();
  readonly problems: string[] = [];
  total = 0;

  constructor(index: number, { shared, own }: OfflineOptions) {
    this.client = new PersistentClient({ clientId: `away-${index}`, version: index % 2 === 0 ? 4 : 5 });
    this.#owed = new Map([
      [everyone, shared],
      [`to/${index}`, own],
    ]);
    this.client.onMessage = ({ topic, payload }) => {
      const number = Number.parseInt(payload.subarray(0, 12).toString(), 10);
      const expected = (this.#arrived.get(topic) ?? 0) + 1;
      if (number !== expected) this.problems.push(`${topic}: ${number} came, ${expected} was next`);
      this.#arrived.set(topic, number);
      this.total += 1;
    };
  }

  get isDone(): boolean {
    return [...this.#owed].every(([topic, count]) => (this.#arrived.get(topic) ?? 0) >= count);
  }

  /** The first of what was wrong. */
  get allProblems(): readonly string[] {
    const { faults, options } = this.client;
    const missing = this.isDone ? [] : [`${options.clientId} did not get everything`];
    return [...this.problems.slice(0, 5), ...faults, ...missing];
  }

  async subscribe(address: Address): Promise<void> {
    await this.client.connect(address);
    await this.client.subscribe([...this.#owed.keys()].map((topic) => request(topic, 1)));
    await this.client.disconnect();
  }
}

/** The most memory of its own that the server has while `work` goes on. */
async function peakDuring(server: MeasuredServer, work: Promise<void>): Promise<number> {
  let peak = server.anonymousBytes();
  const timer = setInterval(() => (peak = Math.max(peak, server.anonymousBytes())), sampleMs);
  try {
    await work;
  } finally {
    clearInterval(timer);
  }
  return peak;
}

async function publishAll(
  address: Address,
  { sessions, shared, own, payloadBytes }: OfflineOptions,
): Promise<void> {
  const publisher = new PersistentClient({ clientId: "publisher", version: 4, inFlightMax: 1_000 });
  await publisher.connect(address);
  const streams = [
    { topic: everyone, count: shared },
    ...Array.from({ length: sessions }, (_, index) => ({ topic: `to/${index}`, count: own })),
  ];
  const most = Math.max(shared, own);
  const padding = "x".repeat(payloadBytes);
  for (let number = 1; number <= most; number += 1) {
    for (const { topic, count } of streams)
      if (number <= count) publisher.publish({ topic, payload: `${number} ${padding}`, qos: 1 });
    while (publisher.unacknowledgedCount > 1_500) await delay(1);
  }
  while (publisher.unacknowledgedCount > 0) await delay(5);
  await publisher.disconnect();
}

async function drain(address: Address, away: readonly Away[]): Promise<void> {
  for (const { client } of away) await client.connect(address);
  let total = -1;
  let progressMs = performance.now();
  while (!away.every(({ isDone }) => isDone)) {
    const now = away.reduce((sum, device) => sum + device.total, 0);
    if (now !== total) progressMs = performance.now();
    total = now;
    if (performance.now() - progressMs > patienceMs) return;
    await delay(20);
  }
  for (const { client } of away) await client.disconnect();
}

async function timed(work: () => Promise<unknown>): Promise<number> {
  const startMs = performance.now();
  await work();
  return Math.round(performance.now() - startMs);
}

/**
 * Queues messages for sessions that are away, kills the server (`kill -9`), starts it again and lets the sessions come
 * back for what is theirs.
 */
export async function runOffline(options: OfflineOptions): Promise<OfflineReport> {
  using directory = scratch();
  const args = configured(directory.path, configuration);
  let server = await MeasuredServer.start(args);
  try {
    const away = Array.from({ length: options.sessions }, (_, index) => new Away(index, options));
    for (const device of away) await device.subscribe(server.address);
    const memoryAtStart = await server.memory();
    let peakWhileQueueing = 0;
    const publishMs = await timed(async () => {
      peakWhileQueueing = await peakDuring(server, publishAll(server.address, options));
    });
    const queued = (await server.counters()).get("queued_messages") ?? 0;
    await server.kill();
    const restartMs = await timed(async () => {
      server = await MeasuredServer.start(args);
    });
    const queuedAfterKill = (await server.counters()).get("queued_messages") ?? 0;
    let peakWhileDraining = 0;
    const drainMs = await timed(async () => {
      peakWhileDraining = await peakDuring(server, drain(server.address, away));
    });
    const leftOver = await server.leftOver(["queued_messages", "queued_bytes", "outbound_bytes"], 5_000);
    const problems = away.flatMap((device) => device.allProblems);
    return {
      queued,
      queuedAfterKill,
      publishMs,
      restartMs,
      drainMs,
      memoryAtStart,
      peakWhileQueueing,
      peakWhileDraining,
      leftOver,
      problems,
    };
  } finally {
    await server[Symbol.asyncDispose]();
  }
}
