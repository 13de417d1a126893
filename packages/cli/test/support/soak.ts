import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { setTimeout as delay } from "node:timers/promises";

import { connectPacket, durableConnect, HandClient } from "@postern/broker/testing/hand-client";
import { publishPacket, request, subscribePacket, unsubscribePacket } from "@postern/broker/testing/packets";
import { Random } from "@postern/broker/testing/random";
import type { Address, Received } from "@postern/broker/testing/wire-client";

import { type Status, statusSchema } from "../../src/admin/protocol.ts";
import { configured, plainAnonymous } from "./configurations.ts";
import { postern, scratch, type TestServer, up } from "./postern.ts";

export interface SoakOptions {
  /** Clients that are connected all the time, but for those that are being replaced. */
  readonly clients: number;
  readonly cycles: number;
  readonly seed: number;
  /** Told the server's resident memory after each cycle. */
  readonly onCycle: (cycle: number, residentBytes: number) => void;
}

const openedAtOnce = 100;
const patienceMs = 60_000;
/** How far the later cycles may lie above the earlier ones: what the allocators and the collector keep back. */
const growthMax = 1.15;
const slackBytes = 24 * 1_048_576;

const isAnswer = ({ kind }: Received): boolean => kind !== "publish";

/**
 * Lets many clients come and go, some cut off with a will, some taken over, with sessions that expire, messages queued
 * for them, and retained messages set and cleared; then all leave. The server's memory must come to rest, and nothing
 * of them be left.
 */
export async function soak(options: SoakOptions): Promise<void> {
  using directory = scratch();
  await using server = await up(configured(directory.path, plainAnonymous));
  const crowd = new Crowd(addressOf(server), options);
  await crowd.gather();
  const resident: number[] = [];
  for (let cycle = 0; cycle < options.cycles; cycle += 1) {
    await crowd.live();
    // Short sessions have expired, wills have been published, the dead are counted out.
    await settled(server, ({ clients, sessions, queues, retained }) => {
      const counts = [
        clients.connected,
        clients.connections,
        sessions.total,
        queues.messages,
        retained.messages,
      ];
      return counts.join() === [options.clients, options.clients, options.clients, 0, 0].join();
    });
    const bytes = residentBytes(server);
    resident.push(bytes);
    options.onCycle(cycle, bytes);
  }
  await crowd.leave();
  await settled(server, ({ clients, sessions, queues, retained }) => {
    const counts = [
      clients.connections,
      sessions.total,
      sessions.subscriptions,
      queues.bytes,
      queues.memoryBytes,
    ];
    return [...counts, retained.messages, retained.bytes].every((count) => count === 0);
  });
  const third = Math.floor(resident.length / 3);
  const early = Math.max(...resident.slice(third, 2 * third));
  const late = Math.min(...resident.slice(-third));
  assert.ok(late <= early * growthMax + slackBytes, `memory grows: ${resident.map(megabytes).join(", ")} MB`);
}

export function megabytes(bytes: number): number {
  return Math.round(bytes / 1_048_576);
}

function addressOf({ urls: [url = ""] }: TestServer): Address {
  const { hostname, port } = new URL(url);
  return { host: hostname, port: Number(port) };
}

function residentBytes({ process: { child } }: TestServer): number {
  const [, kilobytes] = /^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${child.pid}/status`, "utf8")) ?? [];
  return Number(kilobytes) * 1_024;
}

async function settled(server: TestServer, done: (status: Status) => boolean): Promise<void> {
  const deadline = performance.now() + patienceMs;
  for (;;) {
    const { stdout } = await postern(["status", "--data", server.data, "--json"]);
    const status = statusSchema.parse(JSON.parse(stdout));
    if (done(status)) return;
    assert.ok(performance.now() < deadline, `the server does not come to rest: ${stdout}`);
    await delay(200);
  }
}

/** The clients of one soak. */
class Crowd {
  readonly #address: Address;
  readonly #count: number;
  readonly #random: Random;
  readonly #members = new Map<string, HandClient>();

  constructor(address: Address, { clients, seed }: SoakOptions) {
    this.#address = address;
    this.#count = clients;
    this.#random = new Random(seed);
  }

  async gather(): Promise<void> {
    const names = Array.from({ length: this.#count }, (_, index) => `member-${index}`);
    await this.#each(names, (name) => this.#join(name));
  }

  /** One cycle of coming and going. */
  async live(): Promise<void> {
    const names = [...this.#members.keys()].filter(() => this.#random.chance(0.3));
    await this.#each(names, (name) => this.#replace(name));
    const short = Array.from({ length: Math.ceil(this.#count / 10) }, (_, index) => `short-${index}`);
    await this.#each(short, (name) => this.#liveShortly(name));
    await using publisher = await this.#connect("publisher");
    const { version } = publisher.wire;
    const retained = Array.from({ length: 200 }, (_, index) => `kept/${index}`);
    for (const payload of ["a value that is kept for a moment", ""])
      publisher.send(...retained.map((topic) => publishPacket(version, { topic, payload, retain: true })));
    for (const [index, name] of names.entries())
      publisher.send(
        publishPacket(version, {
          topic: `to/${name}`,
          payload: "x".repeat(200),
          qos: 1,
          packetId: 1 + (index % 60_000),
        }),
      );
    await publisher.ping();
  }

  async leave(): Promise<void> {
    await this.#each([...this.#members.keys()], async (name) =>
      this.#members.get(name)?.[Symbol.asyncDispose](),
    );
  }

  async #each(names: readonly string[], act: (name: string) => Promise<unknown>): Promise<void> {
    for (let start = 0; start < names.length; start += openedAtOnce)
      await Promise.all(names.slice(start, start + openedAtOnce).map(act));
  }

  async #connect(name: string, given?: Parameters<typeof connectPacket>[2]): Promise<HandClient> {
    const client = await HandClient.connected(
      this.#address,
      connectPacket(name, this.#random.pick([4, 5]), given),
    );
    client.keeps = isAnswer;
    return client;
  }

  /** Connects with a will and subscribes; whoever has the client id already is taken over. */
  async #join(name: string): Promise<void> {
    const will = {
      topic: `gone/${name}`,
      payload: Buffer.from(name),
      qos: 1,
      retain: false,
      properties: {},
    } as const;
    const client = await this.#connect(name, { will });
    const { version } = client.wire;
    client.send(
      subscribePacket(version, 1, [request(`to/${name}`), request(`gone/${name}`), request("news/+")]),
    );
    await client.take("suback");
    client.send(unsubscribePacket(version, 2, ["news/+"]));
    await client.take("unsuback");
    this.#members.set(name, client);
  }

  /** Another comes under the same client id: half of the old ones are taken over, half are cut off before. */
  async #replace(name: string): Promise<void> {
    const old = this.#members.get(name);
    if (this.#random.chance(0.5)) await old?.[Symbol.asyncDispose]();
    await this.#join(name);
    await old?.[Symbol.asyncDispose]();
  }

  /** A session that outlives its connection by a second, with a message that waits for it in vain. */
  async #liveShortly(name: string): Promise<void> {
    const given = durableConnect(name, 5, { cleanStart: true, properties: { sessionExpiryInterval: 1 } });
    const client = await HandClient.connected(this.#address, given);
    client.send(subscribePacket(5, 1, [request(`to/${name}`, 1)]));
    await client.take("suback");
    await client[Symbol.asyncDispose]();
    const sender = await this.#connect(`sender-of-${name}`);
    sender.send(
      publishPacket(sender.wire.version, {
        topic: `to/${name}`,
        payload: "y".repeat(500),
        qos: 1,
        packetId: 1,
      }),
    );
    await sender.take("puback");
    await sender[Symbol.asyncDispose]();
  }
}
