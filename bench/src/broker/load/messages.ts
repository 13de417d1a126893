import { setTimeout as delay } from "node:timers/promises";

import { LoadClient, type ClientOwner, unheard } from "./client.ts";
import type { Figures, MessageLoad, Target } from "./job.ts";
import { indices, inTurns } from "./in-turns.ts";
import { Histogram } from "./histogram.ts";
import { Measured } from "./measured.ts";
import { Pacer } from "./pacer.ts";
import { publishForm } from "./packets.ts";
import { Publisher } from "./publisher.ts";

/** Of how many messages the latency of one is looked at, where there are as many as the server takes. */
const sampleEvery = 4;
/** What did not come in this time is lost. */
const lostAfterMs = 2_000;

/** How many times longer than wanted it goes on for `messagesMin`. */
const extendedTimes = 10;

/** Payload: when it was sent (ms, float64), and the index of its publisher. */
const indexOffset = 8;
const payloadBytesMin = 12;

/** One load of messages, from connecting to the last DISCONNECT. */
export class MessageRun implements ClientOwner {
  readonly #target: Target;
  readonly #load: MessageLoad;
  readonly #measured: Measured;
  readonly #publishers: Publisher[] = [];
  readonly #clients: LoadClient[] = [];
  readonly #sampleEvery: number;
  /** How late messages were sent that were due at a certain time. */
  readonly #late = new Histogram();
  #queue: LoadClient[] = [];
  #scheduled = false;
  #publishing = false;
  #sent = 0;
  #delivered = 0;
  #lost = 0;
  #lastProgressMs = 0;

  constructor(target: Target, load: MessageLoad) {
    this.#target = target;
    this.#load = load;
    this.#measured = new Measured(target.pids);
    this.#sampleEvery = load.ratePerSecond > 0 ? 1 : sampleEvery;
  }

  async run(): Promise<Figures> {
    try {
      await this.#connect();
      return await this.#measure();
    } finally {
      this.#publishing = false;
      await inTurns(this.#clients, (client) => client.close(this.#target.speaks));
    }
  }

  onPublish(_client: LoadClient, bytes: Buffer, payloadStart: number): void {
    this.#delivered += 1;
    const publisher = this.#publishers[bytes.readUInt32LE(payloadStart + indexOffset)]?.client;
    if (publisher !== undefined) {
      publisher.undelivered -= 1;
      if (!publisher.queued) this.onOutput(publisher);
    }
    if (this.#delivered % this.#sampleEvery === 0 && this.#measured.running)
      this.#measured.latency.record((performance.now() - bytes.readDoubleLE(payloadStart)) * 1_000);
  }

  onAcknowledged(client: LoadClient): void {
    client.unacknowledged -= 1;
    if (!client.queued) this.onOutput(client);
  }

  onOutput(client: LoadClient): void {
    if (client.queued) return;
    client.queued = true;
    this.#queue.push(client);
    if (this.#scheduled) return;
    this.#scheduled = true;
    setImmediate(() => this.#endTurn());
  }

  async #connect(): Promise<void> {
    const { subscribers, publishers, version, qos, durable, filter, slowSubscribers, ballast } = this.#load;
    const filtersOf = (index: number): string[] => [filter.replaceAll("{i}", String(index))];
    const open = async (role: string, index: number, owner: ClientOwner = this): Promise<LoadClient> => {
      const client = await LoadClient.open(owner, {
        target: this.#target,
        index,
        version,
        clientId: `bench-${role}-${index}`,
        clean: !(durable && role === "s"),
      });
      this.#clients.push(client);
      if (this.#target.speaks === "relay")
        client.send(helloOf(role, role === "p" || filter.includes("{i}") ? index : everything));
      return client;
    };
    if (this.#target.speaks === "mqtt") {
      for (let index = 0; index < ballast.clients; index += 1) {
        const client = await open("b", index, unheard);
        const names = Array.from({ length: ballast.filtersEach }, (_, number) => `load/${index}/${number}/+`);
        for (let at = 0; at < names.length; at += 500) await client.subscribe(names.slice(at, at + 500), 0);
      }
      for (let index = 0; index < slowSubscribers; index += 1) {
        const client = await open("slow", index, unheard);
        await client.subscribe(filtersOf(index), qos);
        client.pause();
      }
    }
    await inTurns(indices(subscribers), async (index) => {
      const client = await open("s", index);
      if (this.#target.speaks === "mqtt") await client.subscribe(filtersOf(index), qos);
    });
    await inTurns(indices(publishers), async (index) => {
      this.#publishers[index] = new Publisher(await open("p", index), this.#formOf(index), this.#load.window);
    });
  }

  #formOf(index: number) {
    const { version, topic, qos, payloadBytes } = this.#load;
    const payload = Buffer.alloc(Math.max(payloadBytesMin, payloadBytes), "x");
    payload.writeUInt32LE(index, indexOffset);
    return publishForm({ version, topic: topic.replaceAll("{i}", String(index)), qos, payload });
  }

  async #measure(): Promise<Figures> {
    const { warmSeconds, seconds, ratePerSecond, messagesMin } = this.#load;
    this.#publishing = true;
    const pacer = ratePerSecond > 0 ? await this.#keepRate(ratePerSecond) : undefined;
    const watch = setInterval(() => this.#watchProgress(), 100);
    this.#lastProgressMs = performance.now();
    if (pacer === undefined) for (const { client } of this.#publishers) this.onOutput(client);
    try {
      await delay(warmSeconds * 1_000);
      this.#measured.start(this.#delivered);
      this.#late.clear();
      const sentBefore = this.#sent;
      const enough = this.#delivered + messagesMin;
      const latestMs = performance.now() + seconds * 1_000 * extendedTimes;
      await delay(seconds * 1_000);
      while (this.#delivered < enough && performance.now() < latestMs) await delay(20);
      const figures = this.#measured.stop(this.#delivered);
      const sentPerSecond = (this.#sent - sentBefore) / figures.seconds;
      this.#publishing = false;
      await pacer?.stop();
      await this.#settle();
      if (this.#clients.some(({ ended }) => ended)) throw new Error("the server closed a connection");
      const lateP99Microseconds = this.#late.quantile(0.99);
      const more = { sentPerSecond, ...(lateP99Microseconds === undefined ? {} : { lateP99Microseconds }) };
      return { ...figures, lost: this.#lost, more };
    } finally {
      await pacer?.stop();
      clearInterval(watch);
    }
  }

  /** Waits for what is on its way. */
  async #settle(): Promise<void> {
    const waiting = (): boolean =>
      this.#publishers.some(({ client }) => client.undelivered > 0 || client.unacknowledged > 0);
    while (waiting()) await delay(10);
  }

  #endTurn(): void {
    this.#scheduled = false;
    const queue = this.#queue;
    this.#queue = [];
    const nowMs = performance.now();
    this.#lastProgressMs = nowMs;
    const paced = this.#load.ratePerSecond > 0;
    for (const client of queue) {
      client.queued = false;
      const publisher = this.#publishers[client.index];
      if (publisher?.client !== client || !this.#publishing || paced) client.flush(undefined, () => {});
      else this.#send(publisher, this.#roomOf(client), nowMs);
    }
  }

  #send(publisher: Publisher, wanted: number, nowMs: number): void {
    const { client } = publisher;
    const { qos, copies } = this.#load;
    const count = publisher.send(wanted, nowMs);
    this.#sent += count;
    client.undelivered += count * copies;
    if (qos > 0) client.unacknowledged += count;
    if (count > 0 && count < wanted) this.onOutput(client);
  }

  #roomOf(client: LoadClient): number {
    const { window, copies } = this.#load;
    return window - Math.max(client.unacknowledged, Math.ceil(client.undelivered / copies));
  }

  /**
   * Sends at a fixed rate, whatever comes back. A message counts from when it was due, so that one which is sent late because something
   * took long counts in full; how late this process itself is, is told beside it.
   */
  #keepRate(perSecond: number): Promise<Pacer> {
    let turn = 0;
    return Pacer.start(perSecond, (dueMs) => {
      const publisher = this.#publishers[turn % this.#publishers.length];
      turn += 1;
      if (publisher === undefined) return;
      this.#late.record((performance.now() - dueMs) * 1_000);
      this.#send(publisher, 1, dueMs);
    });
  }

  #watchProgress(): void {
    if (performance.now() - this.#lastProgressMs < lostAfterMs) return;
    for (const { client } of this.#publishers) {
      this.#lost += Math.max(0, client.undelivered, client.unacknowledged);
      client.undelivered = 0;
      client.unacknowledged = 0;
      this.onOutput(client);
    }
  }
}

/** In place of an index: the subscriber gets what all publishers send. */
const everything = 0xffffffff;

/** What a relay is told first: who sends (`p`) and who receives (`s`), and which of them. */
function helloOf(role: string, index: number): Buffer {
  const hello = Buffer.alloc(5);
  hello.write(role, "latin1");
  hello.writeUInt32LE(index, 1);
  return hello;
}
