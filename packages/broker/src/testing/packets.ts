import { ackBytes, writeAck } from "@postern/mqtt/acks";
import {
  noProperties,
  PacketType,
  type Properties,
  type ProtocolVersion,
  type QoS,
  type SubscribeRequest,
} from "@postern/mqtt/packets";
import { encodePublish } from "@postern/mqtt/publish";
import { encodePropertyList } from "@postern/mqtt/properties";
import { encodeSubscribe, encodeUnsubscribe } from "@postern/mqtt/subscribe";

export interface PublishParts {
  readonly topic: string;
  readonly payload: string | Uint8Array;
  readonly qos?: QoS;
  readonly packetId?: number;
  readonly retain?: boolean;
  readonly dup?: boolean;
  readonly properties?: Properties;
}

/** A whole PUBLISH, with what is left out: QoS 0, not retained, without properties. */
export function publishPacket(version: ProtocolVersion, parts: PublishParts): Buffer {
  const { topic, payload, qos = 0, packetId = 0, retain = false, dup = false, properties } = parts;
  return encodePublish({
    version,
    topic: Buffer.from(topic),
    payload: typeof payload === "string" ? Buffer.from(payload) : payload,
    qos,
    retain,
    dup,
    packetId,
    properties: encodePropertyList(properties ?? noProperties, PacketType.publish),
  }).bytes;
}

/** One filter to subscribe to, with what is left out: QoS 0, no options. */
export function request(
  filter: string,
  qos: QoS = 0,
  given: Partial<SubscribeRequest> = {},
): SubscribeRequest {
  return { filter, qos, noLocal: false, retainAsPublished: false, retainHandling: 0, ...given };
}

export function subscribePacket(
  version: ProtocolVersion,
  packetId: number,
  requests: readonly SubscribeRequest[],
): Buffer {
  return encodeSubscribe(version, { packetId, requests, properties: noProperties });
}

export function unsubscribePacket(
  version: ProtocolVersion,
  packetId: number,
  filters: readonly string[],
): Buffer {
  return encodeUnsubscribe(version, { packetId, filters, properties: noProperties });
}

/** PUBACK, PUBREC, PUBREL or PUBCOMP saying success, in any version. */
export function ackPacket(type: 4 | 5 | 6 | 7, packetId: number): Buffer {
  const packet = Buffer.allocUnsafe(ackBytes);
  writeAck(packet, 0, type, packetId);
  return packet;
}
