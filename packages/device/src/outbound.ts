import type { MqttClient, Packet } from "mqtt";

import { errorText } from "@postern/core/errors";
import { PacketType, type Properties, type QoS } from "@postern/mqtt/packets";
import { encodePropertyList } from "@postern/mqtt/properties";
import { publishBytes } from "@postern/mqtt/publish";
import { ReasonCode } from "@postern/mqtt/reason-codes";

import type { Connection } from "./connection.ts";
import {
  BeyondServerLimitError,
  PublishRefusedError,
  QueueFullError,
  UnsendableError,
  reasonText,
} from "./errors.ts";
import { toPublishProperties } from "./mqttjs-properties.ts";

/** How many messages with QoS 1 and 2 are on their way at most, whatever the server allows. */
const inFlightMax = 64;

export interface OutgoingMessage {
  readonly topic: string;
  readonly payload: Buffer;
  readonly qos: QoS;
  readonly retain: boolean;
  readonly properties: Properties;
}

/** What became of a message: with QoS 0 it was `sent`, or `dropped` where there is no connection. */
export type Published =
  | { readonly outcome: "acknowledged"; readonly reasonCode: number }
  | { readonly outcome: "sent" }
  | { readonly outcome: "dropped" };

interface Pending {
  readonly message: OutgoingMessage;
  readonly resolve: (published: Published) => void;
  readonly reject: (error: Error) => void;
}

/** Publishes over a connection that may break, and keeps account of acknowledgements. */
export class Outbound {
  readonly #connection: () => Connection;
  readonly #queueMax: number;
  readonly #queue: Pending[] = [];
  /** Handed to MQTT.js and neither acknowledged nor, with QoS 0, written. */
  readonly #pending = new Set<Pending>();
  /** What the server said of a packet id: PUBREC may say more than the PUBCOMP that ends the exchange. */
  readonly #reasons = new Map<number, number>();
  #failure: Error | undefined;

  constructor(connection: () => Connection, queueMax: number) {
    this.#connection = connection;
    this.#queueMax = queueMax;
  }

  /** Hooks into a client before its first packet. */
  attach(client: MqttClient): void {
    client.on("packetreceive", (packet: Packet) => {
      if ((packet.cmd === "puback" || packet.cmd === "pubrec") && packet.messageId !== undefined)
        this.#reasons.set(packet.messageId, packet.reasonCode ?? 0);
    });
    client.on("connect", () => this.#pump());
    client.on("close", () => this.#onClose());
  }

  /** How many messages are not acknowledged. */
  get unacknowledged(): number {
    return this.#pending.size + this.#queue.length;
  }

  /**
   * Resolves when the server has acknowledged the message, over this connection or a later one.
   * @throws {BeyondServerLimitError}, {PublishRefusedError}, {QueueFullError}, {UnsendableError}, the signal's reason.
   */
  async publish(message: OutgoingMessage, signal: AbortSignal | undefined): Promise<Published> {
    signal?.throwIfAborted();
    if (this.#failure !== undefined) throw this.#failure;
    const { connected } = this.#connection().client;
    if (message.qos === 0 && !connected) return { outcome: "dropped" };
    if (connected) this.#refuseBeyondLimits(message);
    if (this.#queue.length >= this.#queueMax)
      throw new QueueFullError(`${this.#queueMax} messages wait to be sent already`);
    const { promise, resolve, reject } = Promise.withResolvers<Published>();
    const pending = { message, resolve, reject };
    const onAbort = (): void => {
      const index = this.#queue.indexOf(pending);
      if (index !== -1) this.#queue.splice(index, 1);
      reject(signal?.reason instanceof Error ? signal.reason : new DOMException("aborted", "AbortError"));
    };
    signal?.addEventListener("abort", onAbort, { once: true });
    this.#queue.push(pending);
    this.#pump();
    try {
      return await promise;
    } finally {
      signal?.removeEventListener("abort", onAbort);
    }
  }

  /** Everything that waits, and is published later, rejects with `error`. */
  fail(error: Error): void {
    this.#failure ??= error;
    for (const { reject } of this.#queue.splice(0)) reject(error);
    for (const { reject } of this.#pending) reject(error);
    this.#pending.clear();
  }

  /** Hands over what there is room for. Without a connection MQTT.js keeps it, and sends it one by one when there is one. */
  #pump(): void {
    const { client, server } = this.#connection();
    const window = Math.min(inFlightMax, server.receiveMaximum);
    while (this.#pending.size < window) {
      const next = this.#queue.shift();
      if (next === undefined) return;
      this.#pending.add(next);
      this.#send(next, client);
    }
  }

  #send(pending: Pending, client: MqttClient): void {
    const { topic, payload, qos, retain, properties } = pending.message;
    const options = { qos, retain, properties: toPublishProperties(properties) };
    client.publish(topic, payload, options, (error, packet) => {
      if (error instanceof Error && error.message === "Connection closed" && this.#pending.has(pending)) {
        // It waited behind messages that were being sent again when the connection broke: it was not sent.
        this.#send(pending, client);
        return;
      }
      const packetId = packet?.messageId ?? 0;
      const reasonCode = this.#reasons.get(packetId) ?? ReasonCode.success;
      this.#reasons.delete(packetId);
      if (error instanceof Error) this.#onError(pending, error);
      else this.#finish(pending, qos === 0 ? { outcome: "sent" } : { outcome: "acknowledged", reasonCode });
    });
  }

  #finish(pending: Pending, published: Published): void {
    if (!this.#pending.delete(pending)) return;
    pending.resolve(published);
    this.#pump();
  }

  #onError(pending: Pending, error: Error): void {
    if (!this.#pending.delete(pending)) return;
    const code = "code" in error && typeof error.code === "number" ? error.code : undefined;
    const what = `the message to "${pending.message.topic}"`;
    if (code === ReasonCode.packetIdentifierNotFound) {
      // PUBREC had said that the server has it; the session that knew of it is gone.
      pending.resolve({ outcome: "acknowledged", reasonCode: ReasonCode.success });
    } else if (code === undefined) {
      pending.reject(new UnsendableError(`cannot send ${what}: ${errorText(error)}`, { cause: error }));
    } else {
      pending.reject(new PublishRefusedError(`the server refused ${what}: ${reasonText(code)}`, code));
    }
    this.#pump();
  }

  /** What was written with QoS 0 when the connection broke is gone, one way or the other; MQTT.js says no more of it. */
  #onClose(): void {
    for (const pending of this.#pending) {
      if (pending.message.qos === 0) this.#finish(pending, { outcome: "dropped" });
    }
  }

  /** @see MQTT 5.0 §3.2.2.3.4 to §3.2.2.3.6 [MQTT-3.2.2-11] [MQTT-3.2.2-14] [MQTT-3.2.2-15] */
  #refuseBeyondLimits({ topic, payload, qos, retain, properties }: OutgoingMessage): void {
    const { server, target } = this.#connection();
    if (qos > server.maximumQoS)
      throw new BeyondServerLimitError(`${target.url} takes QoS ${server.maximumQoS} at most, not ${qos}`);
    if (retain && !server.retainAvailable)
      throw new BeyondServerLimitError(`${target.url} takes no retained messages`);
    if (server.packetBytesMax === undefined) return;
    const bytes = publishBytes({
      version: 5,
      topic: Buffer.from(topic, "utf8"),
      payload,
      qos,
      retain,
      dup: false,
      packetId: 1,
      properties: encodePropertyList(properties, PacketType.publish),
    });
    if (bytes > server.packetBytesMax)
      throw new BeyondServerLimitError(
        `the message makes a packet of ${bytes} bytes; ${target.url} takes ${server.packetBytesMax} at most`,
      );
  }
}
