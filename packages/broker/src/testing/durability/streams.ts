import type { ProtocolVersion, QoS, SubscribeRequest } from "@postern/mqtt/packets";

import type { Random } from "../random.ts";
import type { Address, ReceivedPublish } from "../wire-client.ts";
import { Participant } from "./participant.ts";

/** How many messages were published on each topic, numbered from 1. */
export type Published = Map<string, number>;

/** Lengths that are handled in different ways: within a chunk, beyond one, by reference. */
const paddings = [0, 0, 0, 10, 100, 1_000, 9_000, 40_000] as const;

/** Publishes numbered messages, each QoS on a topic of its own. */
export class StreamPublisher {
  readonly participant: Participant;
  readonly #published: Published;
  readonly #random: Random;

  constructor(
    name: string,
    version: ProtocolVersion,
    parts: { readonly published: Published; readonly random: Random },
  ) {
    this.participant = new Participant({ clientId: name, version, inFlightMax: 20, packetIdMax: 30 });
    this.#published = parts.published;
    this.#random = parts.random;
    for (const qos of [1, 2] as const) this.#published.set(this.#topic(qos), 0);
  }

  /** Publishes a few more, as long as not too many wait. */
  publish(): void {
    const random = this.#random;
    for (let left = random.between(1, 4); left > 0; left -= 1) {
      if (this.participant.client.unacknowledgedCount > 60) return;
      const qos = random.pick([1, 2] as const);
      const topic = this.#topic(qos);
      const number = (this.#published.get(topic) ?? 0) + 1;
      this.#published.set(topic, number);
      const payload = `${number} ${"x".repeat(random.pick(paddings))}`;
      this.participant.client.publish({ topic, payload, qos });
    }
  }

  #topic(qos: QoS): string {
    return `stream/${this.participant.name}/${qos}`;
  }
}

export interface StreamSubscriberOptions {
  readonly name: string;
  readonly version: ProtocolVersion;
  readonly requests: readonly SubscribeRequest[];
  /** The QoS at which it gets messages of this QoS. */
  readonly granted: (qos: QoS) => QoS;
  readonly receiveMaximum?: number;
}

/** Is owed every message of every stream: in order, none left out, at QoS 2 none twice. */
export class StreamSubscriber {
  readonly participant: Participant;
  readonly options: StreamSubscriberOptions;
  readonly #published: Published;
  /** The highest number that came, by topic. */
  readonly #arrived = new Map<string, number>();
  duplicates = 0;

  constructor(
    options: StreamSubscriberOptions,
    parts: { readonly published: Published; readonly random: Random },
  ) {
    const { name, version, receiveMaximum } = options;
    const connect =
      receiveMaximum === undefined ? {} : { properties: { sessionExpiryInterval: 3_600, receiveMaximum } };
    this.options = options;
    this.participant = new Participant({ clientId: name, version, connect });
    this.#published = parts.published;
    const { client } = this.participant;
    client.onMessage = (message) => this.#arrive(message);
    client.defersAcks = () => parts.random.chance(0.1);
  }

  /** Subscribes, once, before anything is published. */
  async subscribe(address: Address): Promise<void> {
    await this.participant.join(address);
    const granted = await this.participant.client.subscribe(this.options.requests);
    if (granted === undefined) this.#fault("its subscriptions were not acknowledged");
  }

  /** How many messages it is still owed. */
  get lag(): number {
    let lag = 0;
    for (const [topic, number] of this.#published) lag += number - (this.#arrived.get(topic) ?? 0);
    return lag;
  }

  /** What it is still owed, one line for each topic. */
  missing(): string[] {
    const { client } = this.participant;
    const missing = client.unfinishedCount === 0 ? [] : [`${this.options.name} waits for PUBRELs`];
    for (const [topic, number] of this.#published) {
      const arrived = this.#arrived.get(topic) ?? 0;
      if (arrived !== number) missing.push(`${this.options.name} has ${arrived} of ${number} from ${topic}`);
    }
    return missing;
  }

  #arrive({ topic, payload, qos }: ReceivedPublish): void {
    const published: QoS = topic.endsWith("2") ? 2 : 1;
    const number = Number.parseInt(payload.subarray(0, 12).toString(), 10);
    const arrived = this.#arrived.get(topic) ?? 0;
    if (qos !== this.options.granted(published)) this.#fault(`${topic} ${number} came with QoS ${qos}`);
    if (number > arrived + 1) this.#fault(`${topic} ${number} came, ${arrived + 1} is missing`);
    else if (number <= arrived && qos === 2)
      this.#fault(`${topic} ${number} came again at QoS 2, after ${arrived}`);
    else if (number <= arrived) this.duplicates += 1;
    // A gap is told once, not for each message that follows.
    this.#arrived.set(topic, Math.max(arrived, number));
  }

  #fault(fault: string): void {
    this.participant.faults.push(`${this.options.name}: ${fault}`);
  }
}

/**
 * Members of one shared subscription: between them they are owed every QoS 2 message once, each in order.
 * @see MQTT 5.0 §4.8.2
 */
export class SharedSubscribers {
  readonly participants: readonly Participant[];
  readonly #published: Published;
  readonly #arrived = new Map<string, Set<number>>();

  constructor(names: readonly string[], published: Published) {
    this.#published = published;
    this.participants = names.map((clientId) => {
      const participant = new Participant({ clientId, version: 5 });
      const last = new Map<string, number>();
      participant.client.onMessage = (message) => this.#arrive(participant, last, message);
      return participant;
    });
  }

  async subscribe(address: Address, filter: string): Promise<void> {
    for (const participant of this.participants) {
      await participant.join(address);
      const requests = [
        { filter, qos: 2, noLocal: false, retainAsPublished: false, retainHandling: 0 },
      ] as const;
      await participant.client.subscribe(requests);
    }
  }

  missing(): string[] {
    const missing: string[] = [];
    for (const [topic, number] of this.#published) {
      if (!topic.endsWith("2")) continue;
      const arrived = this.#arrived.get(topic)?.size ?? 0;
      if (arrived !== number)
        missing.push(`the shared subscription has ${arrived} of ${number} from ${topic}`);
    }
    return missing;
  }

  #arrive(participant: Participant, last: Map<string, number>, { topic, payload }: ReceivedPublish): void {
    const number = Number.parseInt(payload.subarray(0, 12).toString(), 10);
    const arrived = this.#arrived.get(topic) ?? new Set();
    this.#arrived.set(topic, arrived);
    if (arrived.has(number))
      participant.faults.push(`${participant.name}: ${topic} ${number} came twice to the group`);
    if (number <= (last.get(topic) ?? 0))
      participant.faults.push(`${participant.name}: ${topic} ${number} came late`);
    arrived.add(number);
    last.set(topic, number);
  }
}
