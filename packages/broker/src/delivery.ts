import type { QoS } from "@postern/core/session-store";
import {
  encodePublish,
  encodePublishHeader,
  type EncodedPublish,
  type PublishFields,
} from "@postern/mqtt/publish";

import type { Message } from "./message.ts";
import type { PacketMemory } from "./packet-memory.ts";
import type { Placed } from "./shelf.ts";
import type { SharedGroup } from "./subscription.ts";

const noIdentifiers: readonly number[] = [];
const nothing = new Uint8Array(0);

/** A packet's bytes. */
export interface EncodedDelivery extends EncodedPublish {
  /** What follows `bytes`, where it is passed on by reference; otherwise it is among them. */
  readonly payload: Uint8Array | undefined;
  /** Behind `payload`, to be held until it is sent. */
  readonly memory: PacketMemory | undefined;
  /** Where it was placed last for connections that are told where it is. */
  placed: Placed | undefined;
}

/** One message as some subscribers are to see it: all that get it alike share one delivery, encoded once. */
export class Delivery {
  readonly message: Message;
  /** The lower of publication and subscription. */
  readonly qos: QoS;
  readonly retain: boolean;
  readonly identifiers: readonly number[];
  /** The shared subscription it came by: whoever is left in it takes over what a leaving member did not get. */
  group: SharedGroup | undefined = undefined;
  /** More than one subscriber gets it: worth keeping its bytes. */
  shared = false;
  /** So many get it that it may be placed where it is named to them. */
  many = false;
  #encoded3: EncodedDelivery | undefined = undefined;
  #encoded5: EncodedDelivery | undefined = undefined;

  constructor(message: Message, qos: QoS, retain: boolean, identifiers: readonly number[] = noIdentifiers) {
    this.message = message;
    this.qos = qos;
    this.retain = retain;
    this.identifiers = identifiers;
  }

  /** True when every MQTT 5 subscriber without topic aliases gets the same bytes but for the packet id. */
  get isUniform(): boolean {
    return this.identifiers.length === 0 && this.message.expiresAtMs === Infinity;
  }

  /**
   * The packet with packet id 0 and DUP 0, for a uniform delivery; MQTT 3.1 and 3.1.1 share one form. Whether the payload is passed on
   * by reference is decided here, once: a message that is kept meanwhile has another one, of the same bytes.
   */
  encoded(version: 3 | 4 | 5): EncodedDelivery {
    if (version === 5) {
      this.#encoded5 ??= this.#encode(5);
      return this.#encoded5;
    }
    this.#encoded3 ??= this.#encode(4);
    return this.#encoded3;
  }

  /** Makes it fit to be kept beyond this turn. */
  detach(): void {
    this.message.detach();
    this.#encoded3 = undefined;
    this.#encoded5 = undefined;
  }

  #encode(version: 4 | 5): EncodedDelivery {
    const { payload } = this.message;
    const fields: PublishFields = {
      version,
      topic: this.message.topicBytes,
      payload,
      qos: this.qos,
      retain: this.retain,
      dup: false,
      packetId: 0,
      properties: version === 5 ? this.message.properties : nothing,
    };
    return this.message.passesByReference
      ? { ...encodePublishHeader(fields), payload, memory: this.message.memory, placed: undefined }
      : { ...encodePublish(fields), payload: undefined, memory: undefined, placed: undefined };
  }
}
