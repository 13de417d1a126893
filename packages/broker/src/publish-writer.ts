import type { ProtocolVersion } from "@postern/mqtt/packets";
import {
  encodePublish,
  encodePublishHeader,
  publishBytes,
  type PublishFields,
  writeMessageExpiry,
  writePublish,
  writeSubscriptionIdentifiers,
  writeTopicAlias,
} from "@postern/mqtt/publish";

import type { BrokerContext } from "./context.ts";
import type { Core } from "./core.ts";
import type { Delivery } from "./delivery.ts";
import type { Outbound } from "./outbound.ts";
import type { Shelves } from "./shelf.ts";

/** A packet of more bytes is not copied into the turn's chunk. */
const writtenInPlaceBytesMax = 8_192;
const nothing = new Uint8Array(0);

/** Writes PUBLISH packets for one client: its version, its limits, its topic aliases. @see MQTT 5.0 §3.3 */
export class PublishWriter {
  readonly #outbound: Outbound;
  readonly #context: BrokerContext;
  readonly #shelves: Shelves;
  readonly #topicAliasOutboundMaximum: number;
  version: ProtocolVersion = 5;
  /** The largest packet the client takes. */
  packetBytesMax = Infinity;
  /** The highest topic alias the client takes. */
  topicAliasMaximum = 0;
  #aliases: Map<string, number> | undefined = undefined;

  constructor(
    outbound: Outbound,
    { context, outboundShared }: Pick<Core, "context" | "outboundShared">,
    topicAliasOutboundMaximum: number,
  ) {
    this.#outbound = outbound;
    this.#context = context;
    this.#shelves = outboundShared.shelves;
    this.#topicAliasOutboundMaximum = topicAliasOutboundMaximum;
  }

  /** False, with nothing written, when the packet would be larger than the client takes. */
  write(delivery: Delivery, packetId: number, dup: boolean): boolean {
    if (delivery.shared && !dup && this.#takesUniform(delivery))
      return this.#writeEncoded(delivery, packetId);
    return this.#writeFields(delivery, packetId, dup);
  }

  /** Whether the client gets the same bytes as others. */
  #takesUniform(delivery: Delivery): boolean {
    return this.version < 5 || (this.topicAliasMaximum === 0 && delivery.isUniform);
  }

  #writeEncoded(delivery: Delivery, packetId: number): boolean {
    const encoded = delivery.encoded(this.version);
    const { bytes, packetIdOffset, payload, memory } = encoded;
    const { length } = bytes;
    if (length + (payload?.length ?? 0) > this.packetBytesMax) return false;
    if (
      delivery.qos === 0 &&
      delivery.many &&
      this.#outbound.takesPlaced &&
      payload === undefined &&
      length <= writtenInPlaceBytesMax
    ) {
      encoded.placed = this.#shelves.place(bytes, encoded.placed);
      this.#outbound.appendPlaced(encoded.placed);
      return true;
    }
    const chunk = this.#outbound.reserve(length);
    const start = this.#outbound.length;
    chunk.set(bytes, start);
    if (packetIdOffset > 0) {
      chunk[start + packetIdOffset] = packetId >> 8;
      chunk[start + packetIdOffset + 1] = packetId & 0xff;
    }
    this.#outbound.advance(length);
    if (payload !== undefined) this.#outbound.appendByReference(payload, memory);
    return true;
  }

  #writeFields(delivery: Delivery, packetId: number, dup: boolean): boolean {
    const { message, qos, retain } = delivery;
    const alias = this.version === 5 && this.topicAliasMaximum > 0 ? this.#aliasFor(message.topic) : 0;
    const fields: PublishFields = {
      version: this.version,
      topic: alias > 0 ? nothing : message.topicBytes,
      payload: message.payload,
      qos,
      retain,
      dup,
      packetId,
      properties: this.version === 5 ? this.#propertiesOf(delivery, Math.abs(alias)) : nothing,
    };
    const length = publishBytes(fields);
    if (length > this.packetBytesMax) {
      // The client never saw the alias.
      if (alias < 0) this.#aliases?.delete(message.topic);
      return false;
    }
    if (message.passesByReference) {
      this.#outbound.append(encodePublishHeader(fields).bytes);
      this.#outbound.appendByReference(message.payload, message.memory);
      return true;
    }
    if (length > writtenInPlaceBytesMax) {
      this.#outbound.append(encodePublish(fields).bytes);
      return true;
    }
    const chunk = this.#outbound.reserve(length);
    writePublish(chunk, this.#outbound.length, fields);
    this.#outbound.advance(length);
    return true;
  }

  #propertiesOf(delivery: Delivery, alias: number): Uint8Array {
    const { message, identifiers } = delivery;
    const secondsLeft = message.secondsLeft(this.#context.nowMs);
    if (secondsLeft === undefined && identifiers.length === 0 && alias === 0) return message.properties;
    return Buffer.concat([
      secondsLeft === undefined ? nothing : writeMessageExpiry(secondsLeft),
      alias === 0 ? nothing : writeTopicAlias(alias),
      writeSubscriptionIdentifiers(identifiers),
      message.properties,
    ]);
  }

  /**
   * The topic's alias: positive when the client knows it, negative when it is told now, 0 when there is none to give.
   * @see MQTT 5.0 §3.3.2.3.4
   */
  #aliasFor(topic: string): number {
    this.#aliases ??= new Map();
    const known = this.#aliases.get(topic);
    if (known !== undefined) return known;
    const most = Math.min(this.topicAliasMaximum, this.#topicAliasOutboundMaximum);
    if (this.#aliases.size >= most) return 0;
    const alias = this.#aliases.size + 1;
    this.#aliases.set(topic, alias);
    return -alias;
  }
}
