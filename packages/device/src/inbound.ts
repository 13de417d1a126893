import { createHash } from "node:crypto";

import type { IPublishPacket, MqttClient } from "mqtt";

import { encodeAck } from "@postern/mqtt/acks";
import { PacketType, type QoS } from "@postern/mqtt/packets";
import { ReasonCode } from "@postern/mqtt/reason-codes";
import { matchesFilter, parseSharedFilter } from "@postern/mqtt/topics";

import { AckLine } from "./ack-line.ts";
import { hasPacketId } from "./connection.ts";
import { Message } from "./message.ts";
import { fromPublishProperties } from "./mqttjs-properties.ts";
import type { Subscription } from "./subscription.ts";

/** MQTT.js is given this in the place of an acknowledgement; `Connection` passes over errors with a text for a code. */
const acknowledgedLater = Object.assign(new Error("acknowledged later"), { code: "POSTERN_LATER" });

/** A filter that is subscribed to, by one or several loops. */
export interface FilterEntry {
  readonly filter: string;
  /** The filter that topics match: of `$share/group/filter`, the last part. */
  readonly topics: string;
  /** The same in every process, as the server keeps it with the session. @see MQTT 5.0 §3.8.2.1.2 */
  readonly identifier: number;
  readonly subscriptions: Set<Subscription>;
}

function filterEntry(filter: string): FilterEntry {
  const shared = parseSharedFilter(filter);
  const topics = typeof shared === "object" ? shared.filter : filter;
  const identifier = createHash("sha256").update(filter).digest().readUInt32BE(0) & 0x0f_ff_ff_ff || 1;
  return { filter, topics, identifier, subscriptions: new Set() };
}

/** A message as its loops get it, and what is to be done when they are done with it. */
export interface Inspected {
  readonly message: Message;
  readonly settled: () => void;
}

/**
 * Looks at a message before anybody gets it; `undefined` when nobody may have it. `later` when that will be known soon; not where `isLast` says that it is not
 * asked again.
 */
export type Inspect = (
  message: Message,
  { identifiers, isLast }: { readonly identifiers: readonly number[]; readonly isLast: boolean },
) => Inspected | "later" | undefined;

export interface InboundPorts {
  readonly inspect: Inspect;
  /** So many messages with QoS 1 and 2 may wait for their acknowledgement: what was said in CONNECT. */
  readonly receiveMaximum: number;
  /** How long messages wait that nobody subscribed to in this process, such as those of a session that goes on. */
  readonly unclaimedMs: number;
  readonly onUnclaimed: (message: Message) => void;
  /** The server broke the rules. */
  readonly onOffence: (problem: string) => void;
}

/** How many messages wait until it is known whether somebody may have them, how many bytes they have, and how long. */
const heldMax = 64;
const heldBytesMax = 1_048_576;
const heldMs = 2_000;

interface Held {
  readonly message: Message;
  readonly identifiers: readonly number[];
  readonly timer: NodeJS.Timeout;
}

interface Unclaimed {
  readonly message: Message;
  readonly identifiers: readonly number[];
  readonly settle: () => void;
  readonly timer: NodeJS.Timeout;
}

/**
 * Messages from the server to those who subscribed. Reading never waits for the application, since acknowledgements of what it
 * publishes come the same way: it is the Receive Maximum that keeps the server from sending more than may wait.
 * With QoS 2 a message is taken at PUBLISH. @see MQTT 5.0 §4.3.3, the second of the receiver's methods
 */
export class Inbound {
  readonly #ports: InboundPorts;
  readonly #entries = new Map<string, FilterEntry>();
  readonly #unclaimed = new Set<Unclaimed>();
  readonly #held = new Set<Held>();
  #heldBytes = 0;
  /** Packet ids of QoS 2 messages that were answered with PUBREC and whose PUBREL has not come. */
  readonly #unreleased = new Set<number>();
  readonly #lines: Readonly<Record<1 | 2, AckLine>>;
  #client: MqttClient | undefined;

  constructor(ports: InboundPorts) {
    this.#ports = ports;
    this.#lines = {
      1: new AckLine((packetId) => this.#write(PacketType.puback, packetId)),
      2: new AckLine((packetId) => {
        const written = this.#write(PacketType.pubrec, packetId);
        if (written) this.#unreleased.add(packetId);
        return written;
      }),
    };
  }

  /** Hooks into a client before its first packet. */
  attach(client: MqttClient): void {
    this.#client = client;
    let topic = "";
    client.on("message", (name) => (topic = name));
    client.on("packetreceive", (packet) => {
      if (packet.cmd === "pubrel") this.#unreleased.delete(packet.messageId ?? 0);
    });
    client.options.customHandleAcks = (name, _payload, packet: IPublishPacket, acknowledge) => {
      if (!hasPacketId(packet)) return;
      this.#onAcknowledged(name, packet);
      acknowledge(acknowledgedLater);
    };
    client.handleMessage = (packet, done) => {
      this.#deliver(messageOf(topic, packet), identifiersOf(packet), () => {});
      done();
    };
  }

  entries(): IterableIterator<FilterEntry> {
    return this.#entries.values();
  }

  /** The entry of a filter, a new one when there is none. */
  entry(filter: string): FilterEntry {
    const entry = this.#entries.get(filter) ?? filterEntry(filter);
    this.#entries.set(filter, entry);
    return entry;
  }

  /** Adds a loop to a filter, and gives it what came for it before. */
  claim(entry: FilterEntry, subscription: Subscription): void {
    entry.subscriptions.add(subscription);
    for (const unclaimed of this.#unclaimed) {
      if (!concerns(entry, unclaimed.message.topic, unclaimed.identifiers)) continue;
      this.#unclaimed.delete(unclaimed);
      clearTimeout(unclaimed.timer);
      subscription.offer(unclaimed.message, unclaimed.settle);
    }
  }

  /** @returns whether nobody is left who wants this filter. */
  drop(filter: string, subscription: Subscription): boolean {
    const entry = this.#entries.get(filter);
    if (entry === undefined) return false;
    entry.subscriptions.delete(subscription);
    if (entry.subscriptions.size > 0) return false;
    this.#entries.delete(filter);
    return true;
  }

  /** To be called after each CONNACK. */
  onSession(sessionPresent: boolean): void {
    if (!sessionPresent) this.#unreleased.clear();
    this.#lines[1].onSession(sessionPresent);
    this.#lines[2].onSession(sessionPresent);
  }

  close(): void {
    for (const { timer } of [...this.#unclaimed, ...this.#held]) clearTimeout(timer);
    this.#unclaimed.clear();
    this.#held.clear();
  }

  /** What waits until it is known whether somebody may have it is looked at again. */
  inspectAgain(): void {
    for (const held of this.#held) {
      const inspected = this.#ports.inspect(held.message, { ...held, isLast: false });
      if (inspected !== "later") this.#letGo(held, inspected);
    }
  }

  #onAcknowledged(topic: string, packet: IPublishPacket): void {
    const qos: 1 | 2 = packet.qos === 2 ? 2 : 1;
    const line = this.#lines[qos];
    const packetId = packet.messageId ?? 0;
    if (qos === 2 && this.#unreleased.has(packetId)) {
      this.#write(PacketType.pubrec, packetId);
      return;
    }
    if (packet.dup && line.again(packetId, topic, packet.payload.length)) return;
    if (this.#lines[1].length + this.#lines[2].length >= this.#ports.receiveMaximum) {
      this.#ports.onOffence(`more than ${this.#ports.receiveMaximum} messages at once (MQTT 5.0 §3.3.4)`);
      return;
    }
    const entry = line.add(packetId, topic, packet.payload.length);
    entry.takers = 1;
    this.#deliver(messageOf(topic, packet), identifiersOf(packet), () => {
      entry.takers = 0;
      line.flush();
    });
  }

  #deliver(message: Message, identifiers: readonly number[], acknowledge: () => void): void {
    const isLast = this.#held.size >= heldMax || this.#heldBytes + message.payload.length > heldBytesMax;
    const inspected = this.#ports.inspect(message, { identifiers, isLast });
    if (inspected !== "later") {
      this.#handOn(inspected, identifiers, acknowledge);
      return;
    }
    const timer = setTimeout(
      () => this.#letGo(held, this.#ports.inspect(message, { identifiers, isLast: true })),
      heldMs,
    );
    const held = { message, identifiers, timer };
    this.#held.add(held);
    this.#heldBytes += message.payload.length;
    // It would hold back the acknowledgements of all that come after it, and anybody can send such a one.
    acknowledge();
  }

  #letGo(held: Held, inspected: ReturnType<Inspect>): void {
    this.#held.delete(held);
    this.#heldBytes -= held.message.payload.length;
    clearTimeout(held.timer);
    this.#handOn(inspected, held.identifiers, () => {});
  }

  #handOn(inspected: ReturnType<Inspect>, identifiers: readonly number[], acknowledge: () => void): void {
    if (inspected === undefined || inspected === "later") return acknowledge();
    const { message } = inspected;
    const settle = (): void => {
      inspected.settled();
      acknowledge();
    };
    const subscriptions = [...this.#entries.values()]
      .filter((entry) => concerns(entry, message.topic, identifiers))
      .flatMap(({ subscriptions: loops }) => Array.from(loops));
    if (subscriptions.length === 0) {
      this.#keepUnclaimed(message, identifiers, settle);
      return;
    }
    let left = subscriptions.length;
    const taken = (): void => {
      if (--left === 0) settle();
    };
    for (const subscription of subscriptions) subscription.offer(message, taken);
  }

  #keepUnclaimed(message: Message, identifiers: readonly number[], settle: () => void): void {
    if (message.qos === 0) {
      settle();
      this.#ports.onUnclaimed(message);
      return;
    }
    const timer = setTimeout(() => {
      this.#unclaimed.delete(unclaimed);
      settle();
      this.#ports.onUnclaimed(message);
    }, this.#ports.unclaimedMs);
    const unclaimed = { message, identifiers, settle, timer };
    this.#unclaimed.add(unclaimed);
  }

  /** @returns whether there is a connection. */
  #write(type: typeof PacketType.puback | typeof PacketType.pubrec, packetId: number): boolean {
    if (this.#client?.connected !== true) return false;
    this.#client.stream.write(
      encodeAck(5, type, { packetId, reasonCode: ReasonCode.success, properties: {} }),
    );
    return true;
  }
}

/**
 * Whether a message came because of this filter. A server may send a copy for each filter that matches, and then names it: only its loops
 * get that one. Identifiers that nobody here knows are those of another program in the same session.
 */
function concerns(entry: FilterEntry, topic: string, identifiers: readonly number[]): boolean {
  return (
    matchesFilter(entry.topics, topic) && (identifiers.length === 0 || identifiers.includes(entry.identifier))
  );
}

function identifiersOf({ properties }: IPublishPacket): readonly number[] {
  const identifiers = properties?.subscriptionIdentifier;
  if (identifiers === undefined) return [];
  return Array.isArray(identifiers) ? identifiers : [identifiers];
}

function messageOf(topic: string, packet: IPublishPacket): Message {
  const { payload, retain, dup } = packet;
  const qos: QoS = packet.qos;
  return new Message({
    topic,
    payload: typeof payload === "string" ? Buffer.from(payload, "utf8") : payload,
    qos,
    retained: retain,
    duplicate: dup,
    properties: fromPublishProperties(packet.properties),
    sealed: undefined,
  });
}
