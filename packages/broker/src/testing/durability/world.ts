import type { QoS } from "@postern/mqtt/packets";

import { request } from "../packets.ts";
import type { Random } from "../random.ts";
import type { Address } from "../wire-client.ts";
import { Participant } from "./participant.ts";
import { RetainedWriter } from "./retained-writer.ts";
import {
  type Published,
  SharedSubscribers,
  StreamPublisher,
  StreamSubscriber,
  type StreamSubscriberOptions,
} from "./streams.ts";
import { Toggler } from "./toggler.ts";
import { WillsCast } from "./wills-cast.ts";

/** Messages that one reader may be behind. */
const lagMax = 1_500;
const patienceMs = 20_000;

function asPublished(qos: QoS): QoS {
  return qos;
}

const readers: readonly StreamSubscriberOptions[] = [
  { name: "reader-3", version: 3, requests: [request("stream/#", 1)], granted: () => 1 },
  {
    name: "reader-4",
    version: 4,
    requests: [request("stream/+/1", 1), request("stream/+/2", 2)],
    granted: asPublished,
  },
  {
    name: "reader-5",
    version: 5,
    requests: [request("stream/#", 2)],
    granted: asPublished,
    receiveMaximum: 20,
  },
  {
    name: "overlapping",
    version: 5,
    requests: [request("stream/#", 1), request("stream/+/2", 2), request("+/publisher-4/2", 0)],
    granted: asPublished,
  },
];

/**
 * Clients of every kind that use a server for all that it promises to keep, and know what they are owed. The server,
 * or they themselves, may be killed at any moment; in the end `settle` says what was lost, doubled or forgotten.
 */
export class World {
  readonly #random: Random;
  readonly #published: Published = new Map();
  readonly #publishers: readonly StreamPublisher[];
  readonly #subscribers: readonly StreamSubscriber[];
  readonly #shared: SharedSubscribers;
  readonly #retained: readonly RetainedWriter[];
  readonly #togglers: readonly Toggler[];
  readonly #wills: WillsCast;
  readonly #jugglers: readonly Participant[];
  /** What was begun and waits for an answer. */
  readonly #pending = new Set<Promise<unknown>>();
  #isStill = false;

  /** @param inOrder The server deals with connections in the order in which they came: it has one thread. */
  constructor(random: Random, { inOrder }: { readonly inOrder: boolean }) {
    this.#random = random;
    const parts = { published: this.#published, random };
    this.#publishers = [
      new StreamPublisher("publisher-3", 3, parts),
      new StreamPublisher("publisher-4", 4, parts),
      new StreamPublisher("publisher-5", 5, parts),
    ];
    this.#subscribers = readers.map((options) => new StreamSubscriber(options, parts));
    this.#shared = new SharedSubscribers(["member-a", "member-b"], this.#published);
    this.#retained = [new RetainedWriter("keeper-4", 4, random), new RetainedWriter("keeper-5", 5, random)];
    this.#togglers = [new Toggler("toggler-4", 4, random), new Toggler("toggler-5", 5, random)];
    this.#wills = new WillsCast(random);
    this.#jugglers = [4, 5].map(
      (version) =>
        new Participant({
          clientId: `juggler-${version}`,
          version: version === 4 ? 4 : 5,
          leavesAttempts: !inOrder,
        }),
    );
  }

  get publishedCount(): number {
    return [...this.#published.values()].reduce((sum, count) => sum + count, 0);
  }

  /** QoS 1 messages that came more than once, which is allowed. */
  get duplicateCount(): number {
    return this.#subscribers.reduce((sum, { duplicates }) => sum + duplicates, 0);
  }

  /** Everybody joins and subscribes. */
  async begin(address: Address): Promise<void> {
    for (const subscriber of this.#subscribers) await subscriber.subscribe(address);
    await this.#shared.subscribe(address, "$share/group/stream/+/2");
    for (const toggler of this.#togglers) await toggler.subscribe(address);
    await this.#wills.subscribe(address);
    for (const participant of this.#everybody()) await participant.join(address);
  }

  /** Does one thing or another, without waiting for answers. */
  act(address: Address): void {
    if (this.#isStill) return;
    const random = this.#random;
    if (random.chance(0.6)) random.pick(this.#subscribers).participant.client.flushAcks();
    const drawn = random.below(1_000);
    if (drawn < 500) this.#publish();
    else if (drawn < 700) random.pick(this.#retained).write();
    else if (drawn < 850) this.#begin(random.pick(this.#togglers).toggle());
    else if (drawn < 880) this.#begin(this.#wills.enter(address));
    else if (drawn < 900) this.#begin(this.#juggle(random.pick(this.#jugglers), address));
    else if (drawn < 920) random.pick(this.#everybody()).cut();
    else this.#begin(random.pick(this.#everybody()).join(address));
  }

  /** As if the machine with all clients had lost its power. */
  cutAll(): void {
    for (const participant of [...this.#everybody(), ...this.#wills.participants]) participant.cut();
  }

  /** After a crash most come back at once and see what has become of what they know. */
  async recover(address: Address): Promise<void> {
    await this.#still();
    await this.#wills.recover(address);
    for (const participant of this.#everybody())
      if (this.#random.chance(0.8)) await participant.join(address);
    for (const writer of this.#retained) await writer.check(address);
    for (const toggler of this.#togglers) await toggler.check(address);
    this.#isStill = false;
  }

  /**
   * Everybody comes back and gets what is owed; then returns everything that was wrong, one sentence each.
   * @param whileWaiting Called now and then while wills are awaited that are due within seconds.
   */
  async settle(address: Address, whileWaiting: () => void = () => {}): Promise<string[]> {
    await this.#still();
    await this.#wills.recover(address);
    const deadline = performance.now() + patienceMs;
    while (this.#missing().length > 0 && performance.now() < deadline) {
      for (const participant of this.#everybody()) {
        await participant.join(address);
        participant.client.flushAcks();
      }
      await new Promise((done) => setTimeout(done, 5));
    }
    for (const writer of this.#retained) await writer.check(address);
    for (const toggler of this.#togglers) await toggler.check(address);
    const willsDeadline = performance.now() + 10_000;
    while (this.#wills.owedCount > 0 && performance.now() < willsDeadline) {
      whileWaiting();
      await new Promise((done) => setTimeout(done, 20));
    }
    return [...this.#faults(), ...this.#missing(), ...this.#wills.problems()];
  }

  #everybody(): readonly Participant[] {
    return [
      ...this.#publishers.map(({ participant }) => participant),
      ...this.#subscribers.map(({ participant }) => participant),
      ...this.#shared.participants,
      ...this.#retained.map(({ participant }) => participant),
      ...this.#togglers.map(({ participant }) => participant),
      ...this.#jugglers,
      this.#wills.watcher,
    ];
  }

  /** As long as nobody is so far behind that a full queue could drop what is owed. */
  #publish(): void {
    const behind = Math.max(...this.#subscribers.map(({ lag }) => lag));
    if (behind < lagMax) this.#random.pick(this.#publishers).publish();
    else for (const { participant } of this.#subscribers) participant.client.flushAcks();
  }

  async #juggle(participant: Participant, address: Address): Promise<void> {
    const random = this.#random;
    if (random.chance(0.5)) participant.cut();
    else await participant.client.disconnect();
    await participant.join(address, { cleanStart: random.chance(0.4), keeps: random.chance(0.6) });
  }

  #missing(): string[] {
    const unacknowledged = this.#everybody().flatMap(({ name, client }) =>
      client.unacknowledgedCount === 0
        ? []
        : [`${name} waits for ${client.unacknowledgedCount} acknowledgements`],
    );
    return [
      ...unacknowledged,
      ...this.#subscribers.flatMap((subscriber) => subscriber.missing()),
      ...this.#shared.missing(),
    ];
  }

  #faults(): string[] {
    return this.#everybody().flatMap(({ allFaults }) => allFaults);
  }

  #begin(work: Promise<unknown>): void {
    this.#pending.add(work);
    void work.finally(() => this.#pending.delete(work));
  }

  /** Nothing new is begun, and what was begun has ended. */
  async #still(): Promise<void> {
    this.#isStill = true;
    while (this.#pending.size > 0) await Promise.all(this.#pending);
  }
}
