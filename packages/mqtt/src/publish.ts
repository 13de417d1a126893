import assert from "node:assert/strict";

import { createCursor } from "./cursor.ts";
import type { Frame } from "./frame.ts";
import { type Malformed, malformed, protocolError } from "./malformed.ts";
import { noProperties, PacketType, type Properties, type ProtocolVersion, type QoS } from "./packets.ts";
import { createPacketWriter, writtenBytes } from "./packet-writer.ts";
import { encodePropertyList, readProperties, readPropertyList, writeProperty } from "./properties.ts";
import { propertyTable } from "./property-table.ts";
import { ReasonCode } from "./reason-codes.ts";
import { decodeUtf8 } from "./utf8.ts";
import {
  variableByteIntegerBytes,
  variableByteIntegerMax,
  writeVariableByteInteger,
} from "./variable-byte-integer.ts";

const dupFlag = 0b1000;
const retainFlag = 0b0001;

/** A PUBLISH as offsets into the buffer it came in. Filled in anew by each `decodePublish`. */
export interface PublishView {
  dup: boolean;
  qos: QoS;
  retain: boolean;
  /** The topic's bytes, not yet looked at (`decodeTopicName`); none when only a topic alias names the topic. */
  topicStart: number;
  topicEnd: number;
  /** 1 to 65,535, or 0 with QoS 0. */
  packetId: number;
  /** `noProperties` when there are none, and in MQTT 3. */
  properties: Readonly<Properties>;
  payloadStart: number;
  payloadEnd: number;
}

/** A view for `decodePublish` to fill in. */
export function createPublishView(): PublishView {
  return {
    dup: false,
    qos: 0,
    retain: false,
    topicStart: 0,
    topicEnd: 0,
    packetId: 0,
    properties: noProperties,
    payloadStart: 0,
    payloadEnd: 0,
  };
}

/**
 * Decodes the PUBLISH of a complete frame into `view`; returns what is wrong with it, or `undefined`. After a failure
 * the view means nothing. Allocates only where there are properties. What only a server may send passes:
 * `checkClientPublish` is for the server's side. Whether a topic alias is in range and known is for the caller.
 * @see MQTT 5.0 §3.3
 */
export function decodePublish(
  bytes: Buffer,
  frame: Frame,
  version: ProtocolVersion,
  view: PublishView,
): Malformed | undefined {
  const qos = (frame.flags >> 1) & 3;
  if (qos === 3) return malformed("PUBLISH has QoS 3 (MQTT 5.0 §3.3.1.2)");
  view.qos = qos === 0 ? 0 : qos === 1 ? 1 : 2;
  view.dup = (frame.flags & dupFlag) !== 0;
  view.retain = (frame.flags & retainFlag) !== 0;
  if (view.dup && qos === 0) return malformed("PUBLISH has DUP with QoS 0 (MQTT 5.0 §3.3.1.1)");

  const end = frame.bodyEnd;
  let offset = frame.bodyStart;
  if (offset + 2 > end)
    return malformed("PUBLISH ends within the length of its Topic Name (MQTT 5.0 §3.3.2.1)");
  view.topicStart = offset + 2;
  view.topicEnd = offset + 2 + (((bytes[offset] ?? 0) << 8) | (bytes[offset + 1] ?? 0));
  offset = view.topicEnd;
  if (offset > end) return malformed("PUBLISH ends within its Topic Name (MQTT 5.0 §3.3.2.1)");

  view.packetId = 0;
  if (qos !== 0) {
    if (offset + 2 > end) return malformed("PUBLISH ends within its Packet Identifier (MQTT 5.0 §3.3.2.2)");
    view.packetId = ((bytes[offset] ?? 0) << 8) | (bytes[offset + 1] ?? 0);
    if (view.packetId === 0) return protocolError("PUBLISH has Packet Identifier 0 (MQTT 5.0 §2.2.1)");
    offset += 2;
  }

  view.properties = noProperties;
  if (version === 5) {
    if (offset < end && bytes[offset] === 0) {
      offset++;
    } else {
      const cursor = createCursor(bytes, offset, end);
      view.properties = readProperties(cursor, PacketType.publish);
      if (cursor.failure !== undefined) return cursor.failure;
      offset = cursor.offset;
    }
  }
  view.payloadStart = offset;
  view.payloadEnd = end;
  if (view.topicStart === view.topicEnd && view.properties.topicAlias === undefined) {
    return protocolError("PUBLISH has neither a Topic Name nor a Topic Alias (MQTT 5.0 §3.3.2.1)");
  }
  return undefined;
}

/** What is wrong with a PUBLISH that a client sent, beyond what is wrong in any: a Subscription Identifier. @see MQTT 5.0 §3.3.4 [MQTT-3.3.4-6] */
export function checkClientPublish(view: PublishView): Malformed | undefined {
  if (view.properties.subscriptionIdentifiers === undefined) return undefined;
  return protocolError("a PUBLISH from a client has a Subscription Identifier (MQTT 5.0 §3.3.4)");
}

/**
 * The text of a Topic Name, or `undefined` when it is none: empty, not strict UTF-8, with U+0000 or a wildcard
 * (`topicNameProblem` says which).
 * @see MQTT 5.0 §3.3.2.1 [MQTT-3.3.2-2], §4.7
 */
export function decodeTopicName(bytes: Buffer, start: number, end: number): string | undefined {
  if (start >= end) return undefined;
  // A wildcard's byte is never part of another character.
  for (let index = start; index < end; index++) {
    const byte = bytes[index] ?? 0;
    if (byte === 0x2b || byte === 0x23) return undefined;
  }
  return decodeUtf8(bytes, start, end);
}

/** Why `decodeTopicName` gave nothing: 0x82 for an empty name, 0x81 for bad UTF-8 or U+0000, 0x90 for a wildcard. */
export function topicNameProblem(bytes: Buffer, start: number, end: number): Malformed {
  if (start >= end) return protocolError("the Topic Name is empty (MQTT 5.0 §4.7.3)");
  if (decodeUtf8(bytes, start, end) === undefined) {
    return malformed("the Topic Name is not UTF-8 or holds U+0000 (MQTT 5.0 §1.5.4)");
  }
  return {
    kind: "malformed",
    reasonCode: ReasonCode.topicNameInvalid,
    reason: "the Topic Name holds a wildcard character (MQTT 5.0 §3.3.2.1)",
  };
}

/** A PUBLISH to be encoded. */
export interface PublishFields {
  version: ProtocolVersion;
  /** UTF-8, up to 65,535 bytes; empty only with a topic alias among the properties. */
  topic: Uint8Array;
  payload: Uint8Array;
  qos: QoS;
  retain: boolean;
  dup: boolean;
  /** Left out with QoS 0. */
  packetId: number;
  /** As on the wire, without the property length; ignored in MQTT 3. */
  properties: Uint8Array;
}

function remainingBytes(fields: PublishFields): number {
  const topicBytes = fields.topic.length;
  let remaining = 2 + topicBytes + (fields.qos === 0 ? 0 : 2) + fields.payload.length;
  if (fields.version === 5) {
    remaining += variableByteIntegerBytes(fields.properties.length) + fields.properties.length;
  }
  if (remaining > variableByteIntegerMax || topicBytes > 65_535) {
    throw new RangeError(
      `a PUBLISH with ${topicBytes} bytes of topic and ${remaining} in all does not fit MQTT`,
    );
  }
  return remaining;
}

/** How many bytes `writePublish` will write. Throws `RangeError` when topic or packet are longer than MQTT can tell. */
export function publishBytes(fields: PublishFields): number {
  const remaining = remainingBytes(fields);
  return 1 + variableByteIntegerBytes(remaining) + remaining;
}

/**
 * Writes the packet at `offset` and returns the offset after it. The caller has made sure of the room
 * (`publishBytes`). Throws as `publishBytes` does.
 *
 * `TypedArray.set` is the fastest copy at every size: 8 ns for 8 bytes, 11 ns for 16 to 128 (a loop of single bytes
 * 6, 11, 37 and 70 ns for 8, 16, 64 and 128; `Buffer.copy` 22 ns). Measured on Node 26.10.
 */
export function writePublish(target: Buffer, offset: number, fields: PublishFields): number {
  const { payload } = fields;
  offset = writePublishHeader(target, offset, fields);
  target.set(payload, offset);
  return offset + payload.length;
}

/** As `writePublish`, without the payload that is to follow. */
function writePublishHeader(target: Buffer, offset: number, fields: PublishFields): number {
  const { topic } = fields;
  const retain = fields.retain ? retainFlag : 0;
  const dup = fields.dup ? dupFlag : 0;
  target[offset++] = (PacketType.publish << 4) | dup | (fields.qos << 1) | retain;
  offset = writeVariableByteInteger(target, offset, remainingBytes(fields));
  target[offset++] = topic.length >> 8;
  target[offset++] = topic.length;
  target.set(topic, offset);
  offset += topic.length;
  if (fields.qos !== 0) {
    target[offset++] = fields.packetId >> 8;
    target[offset++] = fields.packetId;
  }
  if (fields.version === 5) {
    offset = writeVariableByteInteger(target, offset, fields.properties.length);
    if (fields.properties.length !== 0) target.set(fields.properties, offset);
    offset += fields.properties.length;
  }
  return offset;
}

/** A PUBLISH in a buffer of its own, and where its packet id is, to be patched for each receiver. */
export interface EncodedPublish {
  readonly bytes: Buffer;
  /** 0 with QoS 0, when there is no packet id. */
  readonly packetIdOffset: number;
}

/** The packet in a buffer of its own. Throws as `publishBytes` does. */
export function encodePublish(fields: PublishFields): EncodedPublish {
  const remaining = remainingBytes(fields);
  const headerBytes = 1 + variableByteIntegerBytes(remaining);
  const bytes = Buffer.allocUnsafe(headerBytes + remaining);
  writePublish(bytes, 0, fields);
  return { bytes, packetIdOffset: packetIdOffset(fields, headerBytes) };
}

/** As `encodePublish`, up to where the payload begins: for a large one that is passed on as it is. */
export function encodePublishHeader(fields: PublishFields): EncodedPublish {
  const remaining = remainingBytes(fields);
  const headerBytes = 1 + variableByteIntegerBytes(remaining);
  const bytes = Buffer.allocUnsafe(headerBytes + remaining - fields.payload.length);
  writePublishHeader(bytes, 0, fields);
  return { bytes, packetIdOffset: packetIdOffset(fields, headerBytes) };
}

function packetIdOffset({ qos, topic }: PublishFields, headerBytes: number): number {
  return qos === 0 ? 0 : headerBytes + 2 + topic.length;
}

const forwardedRows = propertyTable.filter((row) =>
  ["payloadFormatIndicator", "contentType", "responseTopic", "correlationData", "userProperties"].includes(
    row.name,
  ),
);
const noForwardedProperties = Buffer.alloc(0);

/**
 * The properties that a server must forward unaltered, in wire form without the property length: payload format
 * indicator, content type, response topic, correlation data, and user properties in their order. One shared empty
 * array when there are none. Other properties are left out. Throws as `encodePropertyList` does.
 * @see MQTT 5.0 §3.3.2.3 [MQTT-3.3.2-4] [MQTT-3.3.2-15] [MQTT-3.3.2-16] [MQTT-3.3.2-17] [MQTT-3.3.2-18] [MQTT-3.3.2-20]
 */
export function encodeForwardedProperties(properties: Readonly<Properties>): Uint8Array {
  if (properties === noProperties) return noForwardedProperties;
  const writer = createPacketWriter();
  for (const row of forwardedRows) writeProperty(writer, row, properties);
  if (writer.length === 0) return noForwardedProperties;
  return new Uint8Array(writtenBytes(writer));
}

/** The way back from `encodeForwardedProperties`. Throws `AssertionError` for bytes that it did not make. */
export function decodeForwardedProperties(bytes: Uint8Array): Readonly<Properties> {
  if (bytes.length === 0) return noProperties;
  const cursor = createCursor(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length), 0, bytes.length);
  const properties = readPropertyList(cursor, PacketType.publish);
  assert(cursor.failure === undefined, `forwarded properties do not decode: ${cursor.failure?.reason}`);
  return properties;
}

/** The Message Expiry Interval as a property on the wire. Throws `RangeError` unless 0 to 4,294,967,295. @see MQTT 5.0 §3.3.2.3.3 */
export function writeMessageExpiry(seconds: number): Uint8Array {
  return encodePropertyList({ messageExpiryInterval: seconds }, PacketType.publish);
}

/** The Topic Alias as a property on the wire. Throws `RangeError` unless 0 to 65,535. @see MQTT 5.0 §3.3.2.3.4 */
export function writeTopicAlias(alias: number): Uint8Array {
  return encodePropertyList({ topicAlias: alias }, PacketType.publish);
}

/** Subscription Identifiers as properties on the wire, in the given order. Throws `RangeError` unless 0 to 268,435,455. @see MQTT 5.0 §3.3.2.3.8 */
export function writeSubscriptionIdentifiers(identifiers: readonly number[]): Uint8Array {
  return encodePropertyList({ subscriptionIdentifiers: identifiers }, PacketType.publish);
}
