import { encodeAck } from "@postern/mqtt/acks";
import { encodeConnect } from "@postern/mqtt/connect";
import { encodeAuth, encodeDisconnect, pingreqBytes } from "@postern/mqtt/control";
import {
  type ConnectPacket,
  noProperties,
  type Properties,
  type ProtocolVersion,
  type QoS,
  type SubscribeRequest,
  type UserProperty,
} from "@postern/mqtt/packets";
import { encodeSubscribe, encodeUnsubscribe } from "@postern/mqtt/subscribe";

import { connectPacket } from "../../src/testing/hand-client.ts";
import { publishPacket } from "../../src/testing/packets.ts";
import type { Random } from "../../src/testing/random.ts";

const topics = ["f", "f/a", "f/b", "f/a/b", "f//b", "/f", "f/ünï", "f/a/b/c/d/e/f/g/h", "$f/a"] as const;
const filters = [
  ...topics,
  "#",
  "+",
  "+/+",
  "f/#",
  "f/+/b",
  "+/a/#",
  "/+",
  "$f/#",
  "$SYS/#",
  "$share/g/f/#",
  "$share/g/#",
  "$share/h/f/+",
  "honest/#",
] as const;
/** Refused one by one in MQTT 5, with the connection in MQTT 3.1.1. */
const illegalFilters = ["f/#/b", "f+", "$share/g", "$share//f"] as const;
const levels = ["a", "b", "", "ö", "x".repeat(40)] as const;

const texts = ["", "a", "plain", "käse", "𝄞", "x".repeat(200)] as const;
const packetIds = 12;

/** Packets as clients might send them: legal but for what legal packets can do at the wrong time. */
export class RandomPackets {
  readonly #random: Random;
  readonly version: ProtocolVersion;

  constructor(random: Random, version: ProtocolVersion) {
    this.#random = random;
    this.version = version;
  }

  /** Anything but CONNECT; weighted as a busy client would. */
  next(): Buffer {
    const random = this.#random;
    const drawn = random.below(100);
    if (drawn < 45) return this.publish();
    if (drawn < 60) return this.subscribe();
    if (drawn < 66) return this.unsubscribe();
    if (drawn < 90) return this.ack(random.pick([4, 5, 6, 7] as const), this.packetId());
    if (drawn < 99 || random.chance(0.6)) return pingreqBytes;
    // What ends a connection is rare, so that much comes before it.
    if (random.chance(0.5)) return this.disconnect();
    return this.version === 5 && random.chance(0.5) ? this.auth() : this.connect();
  }

  connect(): Buffer {
    return encodeConnect(this.connectParts());
  }

  connectParts(): ConnectPacket {
    const random = this.#random;
    const { version } = this;
    const is5 = version === 5;
    const clientId = random.chance(0.05) ? "" : `fuzz-${random.below(16)}`;
    const named = random.chance(0.2);
    return connectPacket(clientId, version, {
      cleanStart: clientId === "" || random.chance(0.4),
      keepAliveSeconds: random.pick([0, 1, 60, 65_535]),
      username: named ? this.#text() : undefined,
      password: named && random.chance(0.5) ? random.bytes(random.below(20)) : undefined,
      will: random.chance(0.3)
        ? {
            topic: this.#topic(),
            payload: this.#payload(),
            qos: this.#qos(),
            retain: random.chance(0.3),
            properties: is5 ? this.#willProperties() : noProperties,
          }
        : undefined,
      properties: is5 ? this.#connectProperties() : noProperties,
    });
  }

  publish(): Buffer {
    const random = this.#random;
    const qos = this.#qos();
    return publishPacket(this.version, {
      topic: this.#topic(),
      payload: this.#payload(),
      qos,
      packetId: this.packetId(),
      retain: random.chance(0.1),
      dup: qos > 0 && random.chance(0.2),
      ...(this.version === 5 ? { properties: this.#publishProperties() } : {}),
    });
  }

  subscribe(): Buffer {
    const random = this.#random;
    const count = random.chance(0.01) ? 4 : random.between(1, 3);
    const requests = Array.from({ length: count }, () => this.#request());
    const properties: Properties = {};
    if (this.version === 5 && random.chance(0.3))
      properties.subscriptionIdentifiers = [random.between(1, 300)];
    return encodeSubscribe(this.version, { packetId: this.packetId(), requests, properties });
  }

  unsubscribe(): Buffer {
    const random = this.#random;
    const chosen = Array.from({ length: random.between(1, 3) }, () => this.#filter());
    return encodeUnsubscribe(this.version, {
      packetId: this.packetId(),
      filters: chosen,
      properties: noProperties,
    });
  }

  ack(type: 4 | 5 | 6 | 7, packetId: number): Buffer {
    const reasonCode = this.version === 5 && this.#random.chance(0.1) ? (type < 6 ? 0x80 : 0x92) : 0;
    const properties: Properties =
      reasonCode !== 0 && this.#random.chance(0.5) ? { reasonString: this.#text() } : {};
    return encodeAck(this.version, type, { packetId, reasonCode, properties });
  }

  disconnect(): Buffer {
    const random = this.#random;
    const properties: Properties = random.chance(0.5)
      ? { sessionExpiryInterval: random.pick([0, 1, 100, 0xff_ff_ff_ff]) }
      : {};
    const reasonCode = random.pick([0, 0, 4, 0x80]);
    return encodeDisconnect(this.version, { reasonCode, properties });
  }

  auth(): Buffer {
    return encodeAuth(5, {
      reasonCode: this.#random.pick([0x18, 0x19]),
      properties: { authenticationMethod: this.#text(), authenticationData: this.#random.bytes(4) },
    });
  }

  packetId(): number {
    return this.#random.chance(0.02) ? this.#random.between(1, 65_535) : this.#random.between(1, packetIds);
  }

  #request(): SubscribeRequest {
    const random = this.#random;
    const is5 = this.version === 5;
    const filter = this.#filter();
    return {
      filter,
      qos: this.#qos(),
      noLocal: is5 && !filter.startsWith("$share") && random.chance(0.2),
      retainAsPublished: is5 && random.chance(0.3),
      retainHandling: is5 ? random.pick([0, 0, 1, 2] as const) : 0,
    };
  }

  #filter(): string {
    return this.#random.pick(this.#random.chance(0.005) ? illegalFilters : filters);
  }

  #qos(): QoS {
    return this.#random.pick([0, 1, 2] as const);
  }

  #topic(): string {
    const random = this.#random;
    if (random.chance(0.9)) return random.pick(topics);
    return Array.from({ length: random.between(1, 3) }, () => random.pick(levels)).join("/") || "f";
  }

  #payload(): Buffer {
    const random = this.#random;
    if (random.chance(0.1)) return Buffer.alloc(0);
    return random.bytes(random.chance(0.005) ? random.below(16_000) : random.below(60));
  }

  #text(): string {
    return this.#random.pick(texts);
  }

  #userProperties(): UserProperty[] {
    return Array.from(
      { length: this.#random.chance(0.02) ? 3 : 1 },
      () => [this.#text(), this.#text()] as const,
    );
  }

  #forwarded(): Properties {
    const random = this.#random;
    const properties: Properties = {};
    if (random.chance(0.1)) properties.payloadFormatIndicator = 1;
    if (random.chance(0.2)) properties.messageExpiryInterval = random.pick([0, 1, 30, 0xff_ff_ff_ff]);
    if (random.chance(0.1)) properties.contentType = this.#text();
    if (random.chance(0.1)) properties.responseTopic = random.pick(topics);
    if (random.chance(0.1)) properties.correlationData = random.bytes(random.below(10));
    if (random.chance(0.1)) properties.userProperties = this.#userProperties();
    return properties;
  }

  #publishProperties(): Properties {
    const random = this.#random;
    if (random.chance(0.5)) return noProperties;
    const properties = this.#forwarded();
    if (random.chance(0.2)) properties.topicAlias = random.between(1, random.chance(0.01) ? 33 : 16);
    return properties;
  }

  #willProperties(): Properties {
    const properties = this.#forwarded();
    if (this.#random.chance(0.4)) properties.willDelayInterval = this.#random.pick([0, 1, 5]);
    return properties;
  }

  #connectProperties(): Properties {
    const random = this.#random;
    const properties: Properties = {};
    if (random.chance(0.5)) properties.sessionExpiryInterval = random.pick([0, 1, 20, 0xff_ff_ff_ff]);
    if (random.chance(0.3)) properties.receiveMaximum = random.pick([1, 2, 5, 65_535]);
    if (random.chance(0.1)) properties.maximumPacketSize = random.pick([20, 60, 100, 1_000]);
    if (random.chance(0.3)) properties.topicAliasMaximum = random.pick([0, 1, 5]);
    if (random.chance(0.1)) properties.requestProblemInformation = 0;
    if (random.chance(0.1)) properties.requestResponseInformation = 1;
    if (random.chance(0.1)) properties.userProperties = this.#userProperties();
    if (random.chance(0.02)) properties.authenticationMethod = this.#text();
    return properties;
  }
}
