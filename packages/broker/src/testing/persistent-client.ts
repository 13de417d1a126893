import { encodeConnect } from "@postern/mqtt/connect";
import { encodeDisconnect } from "@postern/mqtt/control";
import {
  type ConnectPacket,
  noProperties,
  PacketType,
  type ProtocolVersion,
  type QoS,
  type SubscribeRequest,
} from "@postern/mqtt/packets";

import { durableConnect } from "./hand-client.ts";
import { ackPacket, publishPacket, subscribePacket, unsubscribePacket } from "./packets.ts";
import { type Address, type Received, type ReceivedPublish, WireClient } from "./wire-client.ts";

const { puback, pubrec, pubrel, pubcomp } = PacketType;

/** A message that a client publishes. */
export interface OwnMessage {
  readonly topic: string;
  readonly payload: string;
  readonly qos: QoS;
  readonly retain?: boolean;
}

interface InFlight {
  readonly message: OwnMessage;
  /** PUBREC came, PUBREL was sent. */
  released: boolean;
  /** It was on the wire before: the next time it has DUP. */
  sent: boolean;
}

/** How an attempt to connect ended; `lost` when the connection broke before it was answered. */
export type ConnectResult =
  | { readonly kind: "accepted"; readonly sessionPresent: boolean }
  | { readonly kind: "refused"; readonly reasonCode: number }
  | { readonly kind: "lost" };

export interface PersistentClientOptions {
  readonly clientId: string;
  readonly version: ProtocolVersion;
  /** QoS 1 and 2 messages that are on their way at the same time. Default 20. */
  readonly inFlightMax?: number;
  /** The highest packet id it uses: with few, each comes again soon. Default 65,535. */
  readonly packetIdMax?: number;
  /** What CONNECT says otherwise than `durableConnect`. */
  readonly connect?: Partial<ConnectPacket>;
  /**
   * Leaves an attempt to connect whose CONNACK has not come by saying that no more comes: its end tells that the server has dealt with it.
   * Several threads deal with connections in no order that clients could count on (decision 091).
   */
  readonly leavesAttempts?: boolean;
}

/**
 * A correct client whose session state outlives its connections and its process, as if it were on disk: it sends
 * again what was not acknowledged, under the same packet id and in the same order, and recognises QoS 2 messages that
 * it has. What a server does against the protocol becomes a line in `faults`.
 * @see MQTT 5.0 §4.1, §4.3, §4.4
 */
export class PersistentClient {
  readonly options: PersistentClientOptions;
  /** What the server did wrong, one sentence each. */
  readonly faults: string[] = [];
  /** Packets that it has sent. */
  sentCount = 0;
  /** A message has arrived that was not handed over before. */
  onMessage: (message: ReceivedPublish) => void = () => {};
  /** The server has taken a QoS 1 or 2 message over for good. */
  onAcknowledged: (message: OwnMessage) => void = () => {};
  /** Says of each acknowledgement whether it waits for `flushAcks`. */
  defersAcks: () => boolean = () => false;
  /** In the order in which they were first sent. */
  readonly #inFlight = new Map<number, InFlight>();
  #backlog: OwnMessage[] = [];
  /** QoS 2 packet ids of the server, with the message that was handed over. */
  readonly #incoming = new Map<number, string>();
  #deferred: Buffer[] = [];
  readonly #answers = new Map<number, (reasonCodes: readonly number[] | undefined) => void>();
  #lastPacketId = 0;
  #wire: WireClient | undefined;
  #established = false;
  #connected: ((result: ConnectResult) => void) | undefined;
  #left: Promise<unknown> = Promise.resolve();

  constructor(options: PersistentClientOptions) {
    this.options = options;
  }

  get isConnected(): boolean {
    return this.#established;
  }

  /** Messages of its own that the server has not taken over. */
  get unacknowledgedCount(): number {
    return this.#inFlight.size + this.#backlog.length;
  }

  /** QoS 2 messages of the server that are not finished. */
  get unfinishedCount(): number {
    return this.#incoming.size;
  }

  /** Resolves when the server has dealt with the attempts that were left. */
  get left(): Promise<unknown> {
    return this.#left;
  }

  connect(address: Address, given: Partial<ConnectPacket> = {}): Promise<ConnectResult> {
    this.cut();
    const { clientId, version, connect } = this.options;
    const packet = durableConnect(clientId, version, { ...connect, ...given });
    const wire: WireClient = new WireClient(address, version, {
      onReceived: (received) => {
        if (wire === this.#wire) this.#received(received);
      },
      onUnreadable: (reason, bytes) => this.#fault(`unreadable packet: ${reason}: ${bytes.toString("hex")}`),
      onClose: () => {
        if (wire === this.#wire) this.#closed();
      },
    });
    this.#wire = wire;
    const { promise, resolve } = Promise.withResolvers<ConnectResult>();
    this.#connected = resolve;
    this.sentCount += 1;
    wire.send(encodeConnect(packet));
    return promise;
  }

  /** Publishes when there is room in the window; QoS 0 is sent at once, and lost without a connection. */
  publish(message: OwnMessage): void {
    if (message.qos === 0) this.#send(publishPacket(this.options.version, message));
    else this.#backlog.push(message);
    this.#fill();
  }

  /** The reason codes, or `undefined` when the connection broke before they came. */
  subscribe(requests: readonly SubscribeRequest[]): Promise<readonly number[] | undefined> {
    const packetId = this.#takePacketId();
    return this.#ask(packetId, subscribePacket(this.options.version, packetId, requests));
  }

  /** The reason codes (none before MQTT 5), or `undefined` when the connection broke before they came. */
  unsubscribe(filters: readonly string[]): Promise<readonly number[] | undefined> {
    const packetId = this.#takePacketId();
    return this.#ask(packetId, unsubscribePacket(this.options.version, packetId, filters));
  }

  /** Sends the acknowledgements that waited. */
  flushAcks(): void {
    const deferred = this.#deferred;
    this.#deferred = [];
    for (const packet of deferred) this.#send(packet);
  }

  /** Takes its leave and waits for the end of the connection. */
  async disconnect(): Promise<void> {
    const wire = this.#wire;
    this.flushAcks();
    wire?.send(encodeDisconnect(this.options.version, { reasonCode: 0, properties: noProperties }));
    await wire?.closed;
  }

  /** Ends the connection as if the client's process had been killed: nothing that comes later is read. */
  cut(): void {
    const wire = this.#wire;
    if (wire === undefined) return;
    const isAttempt = this.#connected !== undefined;
    this.#closed();
    if (isAttempt && this.options.leavesAttempts === true) {
      this.#left = wire.closed;
      wire.end();
    } else {
      wire.destroy();
    }
  }

  #received(packet: Received): void {
    switch (packet.kind) {
      case "connack":
        this.#onConnack(packet.reasonCode, packet.sessionPresent);
        return;
      case "publish":
        this.#onPublish(packet);
        return;
      case "puback":
      case "pubrec":
        this.#onTaken(packet.kind, packet.packetId, packet.reasonCode);
        return;
      case "pubcomp":
        this.#onPubcomp(packet.packetId);
        return;
      case "pubrel":
        this.#incoming.delete(packet.packetId);
        this.#acknowledge(ackPacket(pubcomp, packet.packetId));
        return;
      case "suback":
      case "unsuback":
        this.#onAnswer(packet.packetId, packet.reasonCodes);
        return;
      case "disconnect":
      case "pingresp":
        return;
      case "auth":
        this.#fault("AUTH although none was asked for");
        return;
      default:
        packet satisfies never;
    }
  }

  #onConnack(reasonCode: number, sessionPresent: boolean): void {
    const connected = this.#connected;
    this.#connected = undefined;
    if (connected === undefined) {
      this.#fault("a second CONNACK");
      return;
    }
    if (reasonCode !== 0) {
      connected({ kind: "refused", reasonCode });
      return;
    }
    this.#established = true;
    // MQTT 3.1 has no Session Present: a client that did not ask for a clean session has to believe.
    if (!sessionPresent && this.options.version !== 3) this.#startAnew();
    this.#sendAgain();
    this.#fill();
    connected({ kind: "accepted", sessionPresent });
  }

  /** The server knows nothing: what it had taken is done, the rest is new to it. */
  #startAnew(): void {
    this.#incoming.clear();
    for (const [packetId, inFlight] of this.#inFlight) {
      if (inFlight.released) this.#inFlight.delete(packetId);
      inFlight.sent = false;
    }
  }

  /** @see MQTT 5.0 §4.4 [MQTT-4.4.0-1] */
  #sendAgain(): void {
    for (const [packetId, inFlight] of this.#inFlight) this.#sendInFlight(packetId, inFlight);
  }

  #sendInFlight(packetId: number, inFlight: InFlight): void {
    const { message, released, sent } = inFlight;
    if (released) this.#send(ackPacket(pubrel, packetId));
    else this.#send(publishPacket(this.options.version, { ...message, packetId, dup: sent }));
    inFlight.sent = true;
  }

  #fill(): void {
    const { inFlightMax = 20 } = this.options;
    let taken = 0;
    while (this.#established && this.#inFlight.size < inFlightMax) {
      const message = this.#backlog[taken];
      if (message === undefined) break;
      taken += 1;
      const packetId = this.#takePacketId();
      const inFlight: InFlight = { message, released: false, sent: false };
      this.#inFlight.set(packetId, inFlight);
      this.#sendInFlight(packetId, inFlight);
    }
    if (taken > 0) this.#backlog = this.#backlog.slice(taken);
  }

  #onPublish(publish: ReceivedPublish): void {
    const { packetId, qos, dup, topic } = publish;
    if (qos === 0) {
      this.onMessage(publish);
      return;
    }
    if (qos === 1) {
      this.onMessage(publish);
      this.#acknowledge(ackPacket(puback, packetId));
      return;
    }
    const content = `${topic} ${publish.payload.toString()}`;
    const known = this.#incoming.get(packetId);
    if (known === undefined) {
      this.#incoming.set(packetId, content);
      this.onMessage(publish);
    } else if (known !== content) {
      this.#fault(`packet id ${packetId} stands for "${known}" and came again with "${content}"`);
    } else if (!dup) {
      this.#fault(`packet id ${packetId} came again without DUP [MQTT-3.3.1-1]`);
    }
    this.#acknowledge(ackPacket(pubrec, packetId));
  }

  /** PUBACK, or PUBREC: the server has the message. */
  #onTaken(kind: "puback" | "pubrec", packetId: number, reasonCode: number): void {
    const inFlight = this.#inFlight.get(packetId);
    if (inFlight === undefined || inFlight.message.qos !== (kind === "puback" ? 1 : 2)) {
      this.#fault(`${kind} for packet id ${packetId}, which waits for none`);
      return;
    }
    if (reasonCode >= 0x80) this.#fault(`${kind} refuses ${inFlight.message.topic} with ${reasonCode}`);
    if (kind === "puback") {
      this.#done(packetId, inFlight);
      return;
    }
    if (inFlight.released) this.#fault(`PUBREC for packet id ${packetId}, which was released`);
    inFlight.released = true;
    this.#send(ackPacket(pubrel, packetId));
  }

  #onPubcomp(packetId: number): void {
    const inFlight = this.#inFlight.get(packetId);
    if (inFlight?.released === true) this.#done(packetId, inFlight);
    else this.#fault(`PUBCOMP for packet id ${packetId}, which was not released`);
  }

  #done(packetId: number, { message }: InFlight): void {
    this.#inFlight.delete(packetId);
    this.onAcknowledged(message);
    this.#fill();
  }

  #onAnswer(packetId: number, reasonCodes: readonly number[]): void {
    const answer = this.#answers.get(packetId);
    if (answer === undefined) this.#fault(`an answer for packet id ${packetId}, which asked nothing`);
    this.#answers.delete(packetId);
    answer?.(reasonCodes);
  }

  #ask(packetId: number, packet: Buffer): Promise<readonly number[] | undefined> {
    if (!this.#established) return Promise.resolve(undefined);
    const { promise, resolve } = Promise.withResolvers<readonly number[] | undefined>();
    this.#answers.set(packetId, resolve);
    this.#send(packet);
    return promise;
  }

  #acknowledge(packet: Buffer): void {
    if (this.#deferred.length > 0 || this.defersAcks()) this.#deferred.push(packet);
    else this.#send(packet);
  }

  #send(packet: Buffer): void {
    if (!this.#established) return;
    this.sentCount += 1;
    this.#wire?.send(packet);
  }

  #takePacketId(): number {
    const { packetIdMax = 65_535 } = this.options;
    do {
      this.#lastPacketId = (this.#lastPacketId % packetIdMax) + 1;
    } while (this.#inFlight.has(this.#lastPacketId) || this.#answers.has(this.#lastPacketId));
    return this.#lastPacketId;
  }

  /** What is on the wire may have arrived or not; what was to be acknowledged was not. */
  #closed(): void {
    this.#wire = undefined;
    this.#established = false;
    this.#deferred = [];
    this.#connected?.({ kind: "lost" });
    this.#connected = undefined;
    for (const answer of this.#answers.values()) answer(undefined);
    this.#answers.clear();
  }

  #fault(fault: string): void {
    this.faults.push(`${this.options.clientId}: ${fault}`);
  }
}
