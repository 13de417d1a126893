import { type Cursor, createCursor, fail, finish, readByte, readString, readTwoBytes } from "./cursor.ts";
import { type Decoded, malformed, protocolError } from "./malformed.ts";
import {
  noProperties,
  PacketType,
  type ProtocolVersion,
  type SubackPacket,
  type SubscribePacket,
  type SubscribeRequest,
  type UnsubscribePacket,
} from "./packets.ts";
import { createPacketWriter, finishPacket, type PacketWriter } from "./packet-writer.ts";
import { writeByte, writeString, writeTwoBytes } from "./packet-writer.ts";
import { readProperties, writeProperties } from "./properties.ts";
import { reasonCodeAllowed } from "./reason-codes.ts";
import { isSharedFilter } from "./topics.ts";

/** SUBSCRIBE and UNSUBSCRIBE have a flag set. @see MQTT 5.0 §2.1.3 */
const requestFlags = 0b0010;

/** @see MQTT 5.0 §3.8.3.1 */
const Option = {
  qos: 0x03,
  noLocal: 0x04,
  retainAsPublished: 0x08,
  retainHandling: 0x30,
  reserved: 0xc0,
  /** Everything but the QoS: reserved in MQTT 3. */
  reservedInMqtt3: 0xfc,
} as const;
const retainHandlingShift = 4;

/** The one return code of an MQTT 3 SUBACK that refuses. @see MQTT 3.1.1 §3.9.3 */
const failureReturnCode = 0x80;

function readPacketId(cursor: Cursor): number {
  const packetId = readTwoBytes(cursor, "packet identifier");
  if (packetId === 0) fail(cursor, protocolError("the Packet Identifier is 0 (MQTT 5.0 §2.2.1)"));
  return packetId;
}

function failWhenEmpty(cursor: Cursor, count: number, what: string): void {
  if (count === 0)
    fail(cursor, protocolError(`${what} has an empty list as its payload (MQTT 5.0 §3.8.3, §3.10.3)`));
}

/**
 * Decodes the body of a SUBSCRIBE. Filters are strict UTF-8 and no more: whether each is a legal topic filter is for
 * the server, which answers for each. No Local on a shared subscription is a protocol error (0x82).
 * @see MQTT 5.0 §3.8
 */
export function decodeSubscribe(
  bytes: Buffer,
  start: number,
  end: number,
  version: ProtocolVersion,
): Decoded<SubscribePacket> {
  const cursor = createCursor(bytes, start, end);
  const packetId = readPacketId(cursor);
  const properties = version === 5 ? readProperties(cursor, PacketType.subscribe) : noProperties;
  const requests: SubscribeRequest[] = [];
  while (cursor.offset < cursor.end) requests.push(readRequest(cursor, version));
  failWhenEmpty(cursor, requests.length, "SUBSCRIBE");
  return finish(cursor, { packetId, requests, properties });
}

function readRequest(cursor: Cursor, version: ProtocolVersion): SubscribeRequest {
  const filter = readString(cursor, "topic filter");
  let options = readByte(cursor, "subscription options");
  // MQTT 3.1 does not use the upper six bits.
  if (version === 3) options &= Option.qos;
  const qos = options & Option.qos;
  const retainHandling = (options & Option.retainHandling) >> retainHandlingShift;
  const noLocal = (options & Option.noLocal) !== 0;
  const reserved = version === 5 ? Option.reserved : Option.reservedInMqtt3;
  if ((options & reserved) !== 0) {
    fail(cursor, malformed("a subscription has reserved option bits set (MQTT 5.0 §3.8.3.1)"));
  }
  if (qos === 3) {
    const wrong = version === 5 ? protocolError : malformed;
    fail(cursor, wrong("a subscription asks for QoS 3 (MQTT 5.0 §3.8.3.1, MQTT 3.1.1 §3.8.3)"));
  }
  if (retainHandling === 3) {
    fail(cursor, protocolError("a subscription has Retain Handling 3 (MQTT 5.0 §3.8.3.1)"));
  }
  if (noLocal && isSharedFilter(filter)) {
    fail(cursor, protocolError("a shared subscription has No Local set (MQTT 5.0 §3.8.3.1)"));
  }
  return {
    filter,
    qos: qos === 2 ? 2 : qos === 1 ? 1 : 0,
    noLocal,
    retainAsPublished: (options & Option.retainAsPublished) !== 0,
    retainHandling: retainHandling === 2 ? 2 : retainHandling === 1 ? 1 : 0,
  };
}

/** Encodes a SUBSCRIBE; MQTT 3 knows of each request only filter and QoS. Throws for what MQTT cannot carry. @see MQTT 5.0 §3.8 */
export function encodeSubscribe(version: ProtocolVersion, packet: SubscribePacket): Buffer {
  const writer = createPacketWriter();
  writeTwoBytes(writer, packet.packetId, "packet identifier");
  if (version === 5) writeProperties(writer, packet.properties, PacketType.subscribe);
  for (const request of packet.requests) {
    writeString(writer, request.filter, "topic filter");
    writeByte(writer, version === 5 ? optionsOf(request) : request.qos, "subscription options");
  }
  return finishPacket(PacketType.subscribe, requestFlags, writer);
}

function optionsOf(request: SubscribeRequest): number {
  const noLocal = request.noLocal ? Option.noLocal : 0;
  const retainAsPublished = request.retainAsPublished ? Option.retainAsPublished : 0;
  return request.qos | noLocal | retainAsPublished | (request.retainHandling << retainHandlingShift);
}

/** Decodes the body of an UNSUBSCRIBE; filters as in `decodeSubscribe`. @see MQTT 5.0 §3.10 */
export function decodeUnsubscribe(
  bytes: Buffer,
  start: number,
  end: number,
  version: ProtocolVersion,
): Decoded<UnsubscribePacket> {
  const cursor = createCursor(bytes, start, end);
  const packetId = readPacketId(cursor);
  const properties = version === 5 ? readProperties(cursor, PacketType.unsubscribe) : noProperties;
  const filters: string[] = [];
  while (cursor.offset < cursor.end) filters.push(readString(cursor, "topic filter"));
  failWhenEmpty(cursor, filters.length, "UNSUBSCRIBE");
  return finish(cursor, { packetId, filters, properties });
}

/** Encodes an UNSUBSCRIBE. Throws for what MQTT cannot carry. @see MQTT 5.0 §3.10 */
export function encodeUnsubscribe(version: ProtocolVersion, packet: UnsubscribePacket): Buffer {
  const writer = createPacketWriter();
  writeTwoBytes(writer, packet.packetId, "packet identifier");
  if (version === 5) writeProperties(writer, packet.properties, PacketType.unsubscribe);
  for (const filter of packet.filters) writeString(writer, filter, "topic filter");
  return finishPacket(PacketType.unsubscribe, requestFlags, writer);
}

/** Decodes the body of a SUBACK; an MQTT 3 return code of 0x80 is the reason code Unspecified error. @see MQTT 5.0 §3.9 */
export function decodeSuback(
  bytes: Buffer,
  start: number,
  end: number,
  version: ProtocolVersion,
): Decoded<SubackPacket> {
  const cursor = createCursor(bytes, start, end);
  const packetId = readPacketId(cursor);
  const properties = version === 5 ? readProperties(cursor, PacketType.suback) : noProperties;
  const reasonCodes = readReasonCodes(cursor, (code) =>
    version === 5 ? reasonCodeAllowed(PacketType.suback, code) : code <= 2 || code === failureReturnCode,
  );
  return finish(cursor, { packetId, reasonCodes, properties });
}

function readReasonCodes(cursor: Cursor, allowed: (code: number) => boolean): number[] {
  const codes: number[] = [];
  while (cursor.offset < cursor.end) {
    const code = readByte(cursor, "reason code");
    if (!allowed(code))
      fail(cursor, protocolError(`the answer has reason code ${code} (MQTT 5.0 §3.9.3, §3.11.3)`));
    codes.push(code);
  }
  failWhenEmpty(cursor, codes.length, "the answer");
  return codes;
}

/** Encodes a SUBACK; in MQTT 3 every refusal is 0x80. @see MQTT 5.0 §3.9, MQTT 3.1.1 §3.9.3 */
export function encodeSuback(version: ProtocolVersion, packet: SubackPacket): Buffer {
  const writer = createAnswer(version, PacketType.suback, packet);
  for (const code of packet.reasonCodes) {
    writeByte(writer, version === 5 || code < failureReturnCode ? code : failureReturnCode, "reason code");
  }
  return finishPacket(PacketType.suback, 0, writer);
}

/** Decodes the body of an UNSUBACK; in MQTT 3 it has no reason codes. @see MQTT 5.0 §3.11 */
export function decodeUnsuback(
  bytes: Buffer,
  start: number,
  end: number,
  version: ProtocolVersion,
): Decoded<SubackPacket> {
  const cursor = createCursor(bytes, start, end);
  const packetId = readPacketId(cursor);
  if (version !== 5) return finish(cursor, { packetId, reasonCodes: [], properties: noProperties });
  const properties = readProperties(cursor, PacketType.unsuback);
  const reasonCodes = readReasonCodes(cursor, (code) => reasonCodeAllowed(PacketType.unsuback, code));
  return finish(cursor, { packetId, reasonCodes, properties });
}

/** Encodes an UNSUBACK; in MQTT 3 it is its packet identifier alone. @see MQTT 5.0 §3.11, MQTT 3.1.1 §3.11 */
export function encodeUnsuback(version: ProtocolVersion, packet: SubackPacket): Buffer {
  const writer = createAnswer(version, PacketType.unsuback, packet);
  if (version === 5) for (const code of packet.reasonCodes) writeByte(writer, code, "reason code");
  return finishPacket(PacketType.unsuback, 0, writer);
}

type AnswerType = typeof PacketType.suback | typeof PacketType.unsuback;

function createAnswer(version: ProtocolVersion, type: AnswerType, packet: SubackPacket): PacketWriter {
  const writer = createPacketWriter();
  writeTwoBytes(writer, packet.packetId, "packet identifier");
  if (version === 5) writeProperties(writer, packet.properties, type);
  return writer;
}
