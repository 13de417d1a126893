import { createCursor, fail, finish, readByte, readTwoBytes } from "./cursor.ts";
import { type Decoded, protocolError } from "./malformed.ts";
import {
  type AckPacket,
  noProperties,
  PacketType,
  type Properties,
  type ProtocolVersion,
} from "./packets.ts";
import { createPacketWriter, finishPacket, writeByte, writeTwoBytes } from "./packet-writer.ts";
import { readProperties, writeProperties } from "./properties.ts";
import { ReasonCode, reasonCodeAllowed } from "./reason-codes.ts";

/** The packets that acknowledge a PUBLISH or another of their own. */
export type AckType =
  | typeof PacketType.puback
  | typeof PacketType.pubrec
  | typeof PacketType.pubrel
  | typeof PacketType.pubcomp;

/** Bytes that `writeAck` writes. */
export const ackBytes = 4;

/**
 * The packet identifier of a PUBACK, PUBREC, PUBREL or PUBCOMP that says nothing but success in its shortest form;
 * 0 for any other, which is then for `decodeAck`. Allocates nothing.
 */
export function successAckPacketId(bytes: Buffer, start: number, end: number): number {
  return end - start === 2 ? ((bytes[start] ?? 0) << 8) | (bytes[start + 1] ?? 0) : 0;
}

/**
 * Decodes the body of a PUBACK, PUBREC, PUBREL or PUBCOMP. Without a reason code it says success.
 * @see MQTT 5.0 §3.4, §3.5, §3.6, §3.7
 */
export function decodeAck(
  bytes: Buffer,
  start: number,
  end: number,
  type: AckType,
  version: ProtocolVersion,
): Decoded<AckPacket> {
  const cursor = createCursor(bytes, start, end);
  const packetId = readTwoBytes(cursor, "packet identifier");
  if (packetId === 0) {
    fail(cursor, protocolError("an acknowledgement has Packet Identifier 0 (MQTT 5.0 §2.2.1)"));
  }
  let reasonCode: number = ReasonCode.success;
  let properties: Readonly<Properties> = noProperties;
  if (version === 5 && cursor.offset < cursor.end) {
    reasonCode = readByte(cursor, "reason code");
    if (!reasonCodeAllowed(type, reasonCode)) {
      fail(cursor, protocolError(`an acknowledgement has reason code ${reasonCode} (MQTT 5.0 §2.4)`));
    }
    if (cursor.offset < cursor.end) properties = readProperties(cursor, type);
  }
  return finish(cursor, { packetId, reasonCode, properties });
}

/** PUBREL alone has a flag set. @see MQTT 5.0 §3.6.1 [MQTT-3.6.1-1] */
function flagsOf(type: AckType): number {
  return type === PacketType.pubrel ? 0b0010 : 0;
}

/**
 * Encodes a PUBACK, PUBREC, PUBREL or PUBCOMP in the shortest form that says it all; MQTT 3 has the packet identifier
 * only.
 */
export function encodeAck(version: ProtocolVersion, type: AckType, packet: AckPacket): Buffer {
  const writer = createPacketWriter();
  writeTwoBytes(writer, packet.packetId, "packet identifier");
  const hasProperties = Object.keys(packet.properties).length > 0;
  if (version === 5 && (packet.reasonCode !== ReasonCode.success || hasProperties)) {
    writeByte(writer, packet.reasonCode, "reason code");
    if (hasProperties) writeProperties(writer, packet.properties, type);
  }
  return finishPacket(type, flagsOf(type), writer);
}

/** Writes the four bytes of an acknowledgement that says success, in any version, and returns the offset after them. */
export function writeAck(target: Buffer, offset: number, type: AckType, packetId: number): number {
  target[offset] = (type << 4) | flagsOf(type);
  target[offset + 1] = 2;
  target[offset + 2] = packetId >> 8;
  target[offset + 3] = packetId;
  return offset + ackBytes;
}
