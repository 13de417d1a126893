import { errorText } from "@postern/core/errors";
import { PacketType, type Properties, type ProtocolVersion, type QoS } from "@postern/mqtt/packets";
import { encodePropertyList } from "@postern/mqtt/properties";
import { publishBytes } from "@postern/mqtt/publish";
import { ReasonCode } from "@postern/mqtt/reason-codes";
import type { Connection } from "@postern/device/connection";
import {
  BeyondServerLimitError,
  PublishRefusedError,
  UnsendableError,
  reasonText,
} from "@postern/device/errors";
import { toPublishProperties } from "@postern/device/mqttjs-properties";
import type { Packet } from "@postern/device/mqttjs";

/** How many messages are on their way at most, whatever the server allows: each is kept until it is acknowledged. */
const inFlightMax = 256;

export interface PublishRequest {
  readonly topic: string;
  readonly qos: QoS;
  readonly retain: boolean;
  readonly properties: Properties;
  readonly protocolVersion: ProtocolVersion;
}

/** What became of one message. */
export interface Published {
  /** Counted from 1. */
  readonly number: number;
  readonly payloadBytes: number;
  /** `undefined` with QoS 0, which nobody acknowledges; in MQTT 3 an acknowledgement is always a success. */
  readonly reasonCode: number | undefined;
}

interface Message {
  readonly number: number;
  readonly payload: Buffer;
}

/** Publishes over one connection and keeps account of acknowledgements. */
export class Publisher {
  readonly #connection: Connection;
  readonly #request: PublishRequest;
  readonly #onPublished: (published: Published) => void;
  readonly #propertyBytes: Buffer;
  readonly #topicBytes: Buffer;
  /** What the server said of a packet id: PUBREC may say more than the PUBCOMP that ends the exchange. */
  readonly #reasons = new Map<number, number>();
  /** Handed to the client and not acknowledged, or with QoS 0 not yet written. */
  readonly #pending = new Set<Message>();
  #sent = 0;
  /** Called when there may be room for another message, or when the last one is acknowledged. */
  #wake: (() => void) | undefined;

  constructor(connection: Connection, request: PublishRequest, onPublished: (published: Published) => void) {
    this.#connection = connection;
    this.#request = request;
    this.#onPublished = onPublished;
    this.#topicBytes = Buffer.from(request.topic, "utf8");
    const isVersion5 = request.protocolVersion === 5;
    this.#propertyBytes = isVersion5
      ? encodePropertyList(request.properties, PacketType.publish)
      : Buffer.alloc(0);
    connection.client.on("packetreceive", (packet) => this.#onPacket(packet));
    connection.client.on("connect", () => this.#wake?.());
    connection.client.on("close", () => this.#onClose());
  }

  /** Messages that were begun and are not acknowledged. */
  get unacknowledged(): number {
    return this.#pending.size;
  }

  /**
   * Publishes all and waits for the acknowledgements.
   * @throws what the connection fails with; {BeyondServerLimitError}, {PublishRefusedError} for the first message that is not taken.
   */
  async publishAll(payloads: AsyncIterable<Buffer> | Iterable<Buffer>): Promise<void> {
    const iterator =
      Symbol.asyncIterator in payloads ? payloads[Symbol.asyncIterator]() : payloads[Symbol.iterator]();
    for (;;) {
      const next = await this.#connection.guard(Promise.resolve(iterator.next()));
      if (next.done === true) break;
      await this.#until(() => this.#connection.client.connected && this.#pending.size < this.#window());
      this.#refuseBeyondLimits(next.value);
      const message = { number: ++this.#sent, payload: next.value };
      this.#pending.add(message);
      this.#publish(message);
    }
    await this.#until(() => this.#pending.size === 0);
  }

  #window(): number {
    return this.#request.qos === 0
      ? inFlightMax
      : Math.min(inFlightMax, this.#connection.server.receiveMaximum);
  }

  async #until(condition: () => boolean): Promise<void> {
    while (!condition()) {
      const { promise, resolve } = Promise.withResolvers<void>();
      this.#wake = resolve;
      await this.#connection.guard(promise);
    }
  }

  /** @see MQTT 5.0 §3.2.2.3.4 to §3.2.2.3.6 [MQTT-3.2.2-11] [MQTT-3.2.2-14] [MQTT-3.2.2-15] */
  #refuseBeyondLimits(payload: Buffer): void {
    const { server, target } = this.#connection;
    const { qos, retain, protocolVersion: version } = this.#request;
    if (qos > server.maximumQoS) {
      throw new BeyondServerLimitError(`${target.url} takes QoS ${server.maximumQoS} at most, not ${qos}`);
    }
    if (retain && !server.retainAvailable) {
      throw new BeyondServerLimitError(`${target.url} takes no retained messages: leave out --retain`);
    }
    if (server.packetBytesMax === undefined) return;
    const bytes = publishBytes({
      version,
      topic: this.#topicBytes,
      payload,
      qos,
      retain,
      dup: false,
      packetId: 1,
      properties: this.#propertyBytes,
    });
    if (bytes > server.packetBytesMax) {
      throw new BeyondServerLimitError(
        `the message makes a packet of ${bytes} bytes; ${target.url} takes ${server.packetBytesMax} at most`,
      );
    }
  }

  #publish(message: Message): void {
    const { topic, qos, retain, properties, protocolVersion } = this.#request;
    const options = {
      qos,
      retain,
      ...(protocolVersion === 5 ? { properties: toPublishProperties(properties) } : {}),
    };
    this.#connection.client.publish(topic, message.payload, options, (error, packet) => {
      if (error instanceof Error && error.message === "Connection closed") {
        // It waited behind messages that were being sent again when the connection broke: it was not sent.
        this.#publish(message);
        return;
      }
      const reasonCode = this.#takeReason(packet);
      if (error instanceof Error) this.#onError(error, message);
      else this.#finish(message, qos === 0 ? undefined : reasonCode);
    });
  }

  #takeReason(packet: Packet | undefined): number {
    const packetId = packet?.messageId ?? 0;
    const reasonCode = this.#reasons.get(packetId) ?? ReasonCode.success;
    this.#reasons.delete(packetId);
    return reasonCode;
  }

  #finish(message: Message, reasonCode: number | undefined): void {
    if (!this.#pending.delete(message)) return;
    this.#onPublished({ number: message.number, payloadBytes: message.payload.length, reasonCode });
    this.#wake?.();
  }

  #onError(error: Error, message: Message): void {
    const code = "code" in error && typeof error.code === "number" ? error.code : undefined;
    if (code === ReasonCode.packetIdentifierNotFound) {
      // PUBREC had said that the server has it; the session that knew of it is gone.
      this.#finish(message, ReasonCode.success);
      return;
    }
    const which = this.#sent === 1 ? "the message" : `message ${message.number}`;
    const what = `${which} to "${this.#request.topic}"`;
    if (code === undefined) {
      const text = `cannot send ${what}: ${errorText(error)}`;
      this.#connection.fail(new UnsendableError(text, { cause: error }));
      return;
    }
    this.#finish(message, code);
    const text = `the server refused ${what}: ${reasonText(code)}`;
    this.#connection.fail(new PublishRefusedError(text, code));
  }

  /** What was written with QoS 0 when the connection broke is gone, one way or the other; MQTT.js says no more of it. */
  #onClose(): void {
    if (this.#request.qos !== 0) return;
    for (const message of this.#pending) this.#finish(message, undefined);
  }

  #onPacket(packet: Packet): void {
    if (packet.cmd !== "puback" && packet.cmd !== "pubrec") return;
    if (packet.messageId !== undefined) this.#reasons.set(packet.messageId, packet.reasonCode ?? 0);
  }
}
