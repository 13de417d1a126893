import { generate, type Packet, parser } from "mqtt-packet";

import { PacketType, type ProtocolVersion } from "../src/packets.ts";
import type { EncodedPacket } from "./packet-codecs.ts";
import { ReasonCode, reasonCodeOfReturnCode } from "../src/reason-codes.ts";

/** Fields of a packet as our decoders give them, for comparison only. */
type Fields = Readonly<Record<string, unknown>>;

/** Parses one whole packet with mqtt-packet. Throws what it reports. */
export function parseWithOracle(bytes: Buffer, version: ProtocolVersion): Packet {
  const packets: Packet[] = [];
  const oracle = parser({ protocolVersion: version });
  oracle.on("packet", (packet) => packets.push(packet));
  oracle.on("error", (error) => {
    throw error;
  });
  oracle.parse(bytes);
  const [packet] = packets;
  if (packet === undefined || packets.length > 1)
    throw new Error(`mqtt-packet found ${packets.length} packets`);
  return packet;
}

/** Encodes what mqtt-packet parsed with mqtt-packet again. */
export function generateWithOracle(packet: Packet, version: ProtocolVersion): Buffer {
  return generate(packet, { protocolVersion: version });
}

function bytesOf(data: unknown): unknown {
  return data instanceof Uint8Array ? new Uint8Array(data) : data;
}

function userPropertiesOf(byName: unknown): unknown {
  if (typeof byName !== "object" || byName === null) return byName;
  const pairs = Object.entries(byName).flatMap(([name, values]) =>
    Array.isArray(values) ? values.map((value) => [name, value]) : [[name, values]],
  );
  return sortedPairs(pairs);
}

/** mqtt-packet keeps the order of user properties of one name only: so does the comparison. */
function sortedPairs(pairs: readonly (readonly unknown[])[]): unknown {
  return pairs.toSorted(([a], [b]) => (String(a) < String(b) ? -1 : String(a) > String(b) ? 1 : 0));
}

function propertyOf(name: string, value: unknown): readonly [name: string, value: unknown] {
  if (name === "userProperties") return [name, userPropertiesOf(value)];
  if (name === "subscriptionIdentifier")
    return ["subscriptionIdentifiers", Array.isArray(value) ? value : [value]];
  if (name === "subscriptionIdentifiersAvailable") return ["subscriptionIdentifierAvailable", Number(value)];
  return [name, typeof value === "boolean" ? Number(value) : bytesOf(value)];
}

function propertiesOf(properties: object | undefined): Fields {
  return Object.fromEntries(Object.entries(properties ?? {}).map(([name, value]) => propertyOf(name, value)));
}

/** What mqtt-packet found, in the words of our decoders. */
export function fieldsOf(packet: Packet, version: ProtocolVersion): Fields | null {
  const packetId = packet.messageId ?? 0;
  const properties = propertiesOf("properties" in packet ? packet.properties : undefined);
  switch (packet.cmd) {
    case "connect": {
      const { protocolVersion, clean: cleanStart, keepalive: keepAliveSeconds, clientId, username } = packet;
      const will = packet.will && {
        ...packet.will,
        payload: bytesOf(packet.will.payload),
        properties: propertiesOf(packet.will.properties),
      };
      const password = bytesOf(packet.password);
      return {
        protocolVersion,
        cleanStart,
        keepAliveSeconds,
        clientId,
        username,
        password,
        will,
        properties,
      };
    }
    case "connack": {
      const reasonCode = version === 5 ? packet.reasonCode : reasonCodeOfReturnCode(packet.returnCode ?? -1);
      // MQTT 3.1 does not use the byte in which this stands later.
      return { sessionPresent: packet.sessionPresent, reasonCode, properties };
    }
    case "publish": {
      const { topic, qos, dup, retain } = packet;
      return { topic, qos, dup, retain, packetId, payload: bytesOf(packet.payload), properties };
    }
    case "puback":
    case "pubrec":
    case "pubrel":
    case "pubcomp":
      return { packetId, reasonCode: packet.reasonCode ?? 0, properties };
    case "subscribe": {
      const requests = packet.subscriptions.map(({ topic, qos, nl, rap, rh }) => ({
        filter: topic,
        qos,
        noLocal: nl ?? false,
        retainAsPublished: rap ?? false,
        retainHandling: rh ?? 0,
      }));
      return { packetId, requests, properties };
    }
    case "unsubscribe":
      return { packetId, filters: packet.unsubscriptions, properties };
    case "suback":
    case "unsuback":
      return { packetId, reasonCodes: packet.granted ?? [], properties };
    case "pingreq":
    case "pingresp":
      return null;
    case "disconnect":
    case "auth":
      return { reasonCode: packet.reasonCode ?? 0, properties };
    default:
      packet satisfies never;
      return null;
  }
}

/** A value of ours with its user properties in the order that the comparison keeps. */
export function comparable(value: unknown): unknown {
  if (typeof value !== "object" || value === null || value instanceof Uint8Array) return value;
  if (Array.isArray(value)) return value.map(comparable);
  return Object.fromEntries(
    Object.entries(value).map(([name, field]) => [
      name,
      name === "userProperties" && Array.isArray(field) ? sortedPairs(field) : comparable(field),
    ]),
  );
}

/** Whether mqtt-packet 9.0.2 can tell us anything about this packet. */
export function oracleKnows({ type, version, bytes, value }: EncodedPacket): boolean {
  // An empty body is success in DISCONNECT and AUTH; mqtt-packet looks for a reason code or a property length.
  const mayBeEmpty = version === 5 && (type === PacketType.disconnect || type === PacketType.auth);
  if (mayBeEmpty && bytes.length <= 3) return false;
  // It follows §3.14.2.1, which leaves Bad authentication method out; §2.4 lists it for DISCONNECT too.
  if (type === PacketType.disconnect && saysBadMethod(value)) return false;
  // It forgets a user property that has an empty value when another of this name follows.
  return !hasEmptyUserProperty(value);
}

function saysBadMethod(value: unknown): boolean {
  if (typeof value !== "object" || value === null || !("reasonCode" in value)) return false;
  return value.reasonCode === ReasonCode.badAuthenticationMethod;
}

function hasEmptyUserProperty(value: unknown): boolean {
  if (typeof value !== "object" || value === null || value instanceof Uint8Array) return false;
  return Object.entries(value).some(([name, field]) =>
    name === "userProperties" && Array.isArray(field)
      ? field.some((pair: unknown) => Array.isArray(pair) && pair.includes(""))
      : hasEmptyUserProperty(field),
  );
}
