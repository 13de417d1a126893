import assert from "node:assert/strict";

import { noProperties, type ProtocolVersion, type QoS } from "@postern/mqtt/packets";

import { request } from "../../src/testing/packets.ts";
import { PersistentClient } from "../../src/testing/persistent-client.ts";
import type { Address } from "../../src/testing/wire-client.ts";
import { nextTurn } from "./stage.ts";

const patienceMs = 20_000;
const levels = [0, 1, 2] as const;

/** Topics that begin like this are for honest clients alone to publish to. */
export const honestPrefix = "honest/";

/**
 * Clients that do everything right and are owed everything: each publishes numbered messages, and each of them is
 * subscribed to all. On unbroken connections every message comes once, in order, with the QoS it was published with.
 */
export class HonestClients {
  readonly #clients: readonly PersistentClient[];
  /** The number of the last message that came, by receiver and topic. */
  readonly #arrived = new Map<string, number>();
  readonly #published = new Map<string, number>();
  readonly #faults: string[] = [];

  private constructor(clients: readonly PersistentClient[]) {
    this.#clients = clients;
  }

  get count(): number {
    return this.#clients.length;
  }

  /** Packets that the clients have sent. */
  get sentCount(): number {
    return this.#clients.reduce((count, client) => count + client.sentCount, 0);
  }

  /** One of each version with a session that is kept, and one without. */
  static async join(address: Address): Promise<HonestClients> {
    const clients = ([3, 4, 5] as const).flatMap((version) => [
      honestClient(`honest-kept-${version}`, version, true),
      honestClient(`honest-fleeting-${version}`, version, false),
    ]);
    const honest = new HonestClients(clients);
    for (const client of clients) {
      assert.equal((await client.connect(address)).kind, "accepted");
      client.onMessage = ({ topic, payload, qos, retain }) =>
        honest.#arrive(client, { topic, number: Number(payload.toString()), qos, retain });
      const granted = await client.subscribe([request(`${honestPrefix}#`, 2)]);
      assert.deepEqual(granted, [2]);
    }
    return honest;
  }

  /** Each publishes `count` messages at each QoS. */
  publish(count: number): void {
    for (let left = count; left > 0; left -= 1) {
      for (const client of this.#clients) {
        for (const qos of levels) {
          const topic = `${honestPrefix}${client.options.clientId}/${qos}`;
          const number = (this.#published.get(topic) ?? 0) + 1;
          this.#published.set(topic, number);
          client.publish({ topic, payload: `${number}`, qos });
        }
      }
    }
  }

  /** Waits for all that was published; then says what was wrong, if anything. */
  async check(): Promise<readonly string[]> {
    const deadline = performance.now() + patienceMs;
    while (this.#missing().length > 0 && performance.now() < deadline) await nextTurn();
    const faults = this.#clients.flatMap((client) => client.faults);
    return [...this.#faults, ...faults, ...this.#missing()];
  }

  /** All leave for good; their sessions end. */
  async leave(address: Address): Promise<void> {
    for (const client of this.#clients) {
      await client.disconnect();
      await client.connect(address, { cleanStart: true, properties: noProperties });
      await client.disconnect();
    }
  }

  #missing(): string[] {
    const missing: string[] = [];
    for (const { options, unacknowledgedCount, unfinishedCount, isConnected } of this.#clients) {
      const { clientId } = options;
      if (!isConnected) missing.push(`${clientId} was cut off`);
      if (unacknowledgedCount > 0)
        missing.push(`${clientId} waits for ${unacknowledgedCount} acknowledgements`);
      if (unfinishedCount > 0) missing.push(`${clientId} waits for ${unfinishedCount} PUBRELs`);
      for (const [topic, number] of this.#published) {
        const arrived = this.#arrived.get(`${clientId} ${topic}`) ?? 0;
        if (arrived !== number) missing.push(`${clientId} has ${arrived} of ${number} from ${topic}`);
      }
    }
    return missing;
  }

  #arrive(
    { options }: PersistentClient,
    message: { readonly topic: string; readonly number: number; readonly qos: QoS; readonly retain: boolean },
  ): void {
    const { topic, number, qos, retain } = message;
    const key = `${options.clientId} ${topic}`;
    const expected = (this.#arrived.get(key) ?? 0) + 1;
    if (number !== expected) this.#faults.push(`${key}: ${number} came, ${expected} was next`);
    if (!topic.endsWith(`${qos}`) || retain) this.#faults.push(`${key}: ${number} came with QoS ${qos}`);
    this.#arrived.set(key, number);
  }
}

function honestClient(clientId: string, version: ProtocolVersion, kept: boolean): PersistentClient {
  const fleeting = { cleanStart: true, properties: noProperties };
  const connect = { keepAliveSeconds: 0, ...(kept ? {} : fleeting) };
  return new PersistentClient({ clientId, version, inFlightMax: 8, connect });
}
