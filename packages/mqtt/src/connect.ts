import { type Cursor, createCursor, fail, finish } from "./cursor.ts";
import { readBinary, readByte, readLatin1, readString, readTwoBytes } from "./cursor.ts";
import { type Malformed, malformed, protocolError } from "./malformed.ts";
import { type ConnectPacket, noProperties, PacketType, type ProtocolVersion, type Will } from "./packets.ts";
import {
  createPacketWriter,
  finishPacket,
  type PacketWriter,
  writeBinary,
  writeByte,
  writeString,
  writeTwoBytes,
} from "./packet-writer.ts";
import { readProperties, writeProperties } from "./properties.ts";
import { ReasonCode } from "./reason-codes.ts";
import { isTopicName } from "./topics.ts";

/** @see MQTT 5.0 §3.1.2.3 */
const ConnectFlag = {
  reserved: 0x01,
  cleanStart: 0x02,
  will: 0x04,
  willQoS: 0x18,
  willRetain: 0x20,
  password: 0x40,
  username: 0x80,
} as const;
const willQoSShift = 3;

/** A CONNECT that is refused, with what is known of the client's protocol: it decides how to answer, and whether. */
export interface MalformedConnect extends Malformed {
  /** `undefined` when the version is not one of ours, or not reached. */
  readonly protocolVersion: ProtocolVersion | undefined;
  /** The protocol level byte, also one we do not speak; `undefined` when the protocol name is not MQTT's. */
  readonly requestedLevel: number | undefined;
}

/** What `decodeConnect` returns. */
export type DecodedConnect = { readonly kind: "value"; readonly value: ConnectPacket } | MalformedConnect;

/**
 * Decodes the body of a CONNECT of any version. Password, will payload and binary properties are copies. Refused with
 * 0x84: another protocol name or level; 0x85: MQTT 3 with neither a client id nor a clean session; 0x90: a will topic
 * that is no topic name. The 23 characters of an MQTT 3.1 client id are not enforced.
 * @see MQTT 5.0 §3.1, MQTT 3.1.1 §3.1, MQTT 3.1 §3.1
 */
export function decodeConnect(bytes: Buffer, start: number, end: number): DecodedConnect {
  const cursor = createCursor(bytes, start, end);
  const name = readProtocolName(cursor);
  const level = readByte(cursor, "protocol level");
  const requestedLevel = cursor.failure === undefined ? level : undefined;
  const version = versionOf(name, level);
  if (version === undefined) fail(cursor, unsupportedVersion(level));
  const packet = readConnect(cursor, version ?? 5);
  const decoded = finish(cursor, packet);
  if (decoded.kind === "value") return decoded;
  return {
    ...decoded,
    protocolVersion: requestedLevel === undefined ? undefined : version,
    requestedLevel,
  };
}

type ProtocolName = "MQTT" | "MQIsdp";

function readProtocolName(cursor: Cursor): ProtocolName | undefined {
  const text = readLatin1(cursor, "protocol name");
  if (cursor.failure !== undefined) return undefined;
  if (text === "MQTT" || text === "MQIsdp") return text;
  fail(cursor, {
    kind: "malformed",
    reasonCode: ReasonCode.unsupportedProtocolVersion,
    reason: "CONNECT has another protocol name than MQTT or MQIsdp (MQTT 5.0 §3.1.2.1)",
  });
  return undefined;
}

function versionOf(name: ProtocolName | undefined, level: number): ProtocolVersion | undefined {
  if (name === "MQIsdp") return level === 3 ? 3 : undefined;
  if (name === undefined) return undefined;
  return level === 4 || level === 5 ? level : undefined;
}

function unsupportedVersion(level: number): Malformed {
  return {
    kind: "malformed",
    reasonCode: ReasonCode.unsupportedProtocolVersion,
    reason: `CONNECT asks for protocol level ${level} (MQTT 5.0 §3.1.2.2)`,
  };
}

function readConnect(cursor: Cursor, version: ProtocolVersion): ConnectPacket {
  const flags = readConnectFlags(cursor, version);
  const cleanStart = (flags & ConnectFlag.cleanStart) !== 0;
  const keepAliveSeconds = readTwoBytes(cursor, "keep alive");
  const properties = version === 5 ? readProperties(cursor, PacketType.connect) : noProperties;
  const clientId = readString(cursor, "client identifier");
  const will = (flags & ConnectFlag.will) === 0 ? undefined : readWill(cursor, version, flags);
  const username = hasCredential(cursor, version, flags & ConnectFlag.username)
    ? readString(cursor, "user name")
    : undefined;
  const password = hasCredential(cursor, version, flags & ConnectFlag.password)
    ? readBinary(cursor, "password")
    : undefined;

  if (properties.authenticationData !== undefined && properties.authenticationMethod === undefined) {
    fail(cursor, protocolError("CONNECT has Authentication Data without a method (MQTT 5.0 §3.1.2.11.10)"));
  }
  if (version !== 5 && clientId === "" && !cleanStart) failAtEnd(cursor, clientIdMissing);
  return {
    protocolVersion: version,
    cleanStart,
    keepAliveSeconds,
    clientId,
    username,
    password,
    will,
    properties,
  };
}

const clientIdMissing: Malformed = {
  kind: "malformed",
  reasonCode: ReasonCode.clientIdentifierNotValid,
  reason: "CONNECT asks to keep a session and has no client identifier (MQTT 3.1.1 §3.1.3.1)",
};

/** Judges the content of a packet that is sound otherwise: left-over bytes are the graver fault. */
function failAtEnd(cursor: Cursor, failure: Malformed): void {
  if (cursor.offset === cursor.end) fail(cursor, failure);
}

/** Reads the connect flags and checks what they say together. */
function readConnectFlags(cursor: Cursor, version: ProtocolVersion): number {
  const flags = readByte(cursor, "connect flags");
  const willBits = flags & (ConnectFlag.will | ConnectFlag.willQoS | ConnectFlag.willRetain);
  if (
    (flags & ConnectFlag.willQoS) === ConnectFlag.willQoS &&
    (version !== 3 || (flags & ConnectFlag.will) !== 0)
  ) {
    fail(cursor, malformed("CONNECT has a will with QoS 3 (MQTT 5.0 §3.1.2.6)"));
  }
  // MQTT 3.1 leaves the last bit unused, and disregards will QoS and retain when there is no will.
  if (version !== 3 && (flags & ConnectFlag.reserved) !== 0) {
    fail(cursor, malformed("CONNECT has the reserved connect flag set (MQTT 5.0 §3.1.2.3)"));
  }
  if (version !== 3 && willBits !== 0 && (flags & ConnectFlag.will) === 0) {
    fail(cursor, malformed("CONNECT has will QoS or retain without a will (MQTT 5.0 §3.1.2.6, §3.1.2.7)"));
  }
  if (version !== 5 && (flags & ConnectFlag.password) !== 0 && (flags & ConnectFlag.username) === 0) {
    fail(cursor, malformed("CONNECT has a password without a user name (MQTT 3.1.1 §3.1.2.9)"));
  }
  return flags;
}

/** Whether a user name or password comes next. In MQTT 3.1 the flag may be set and the string missing (MQTT 3.1 §3.1). */
function hasCredential(cursor: Cursor, version: ProtocolVersion, flag: number): boolean {
  if (flag === 0) return false;
  return version !== 3 || cursor.offset < cursor.end;
}

function readWill(cursor: Cursor, version: ProtocolVersion, flags: number): Will {
  const properties = version === 5 ? readProperties(cursor, "will") : noProperties;
  const topic = readString(cursor, "will topic");
  if (cursor.failure === undefined && !isTopicName(topic)) {
    fail(cursor, {
      kind: "malformed",
      reasonCode: ReasonCode.topicNameInvalid,
      reason: "the will topic is empty or holds a wildcard (MQTT 5.0 §3.1.3.3, §4.7)",
    });
  }
  const payload = readBinary(cursor, "will payload");
  const qos = (flags & ConnectFlag.willQoS) >> willQoSShift;
  return {
    topic,
    payload,
    qos: qos === 2 ? 2 : qos === 1 ? 1 : 0,
    retain: (flags & ConnectFlag.willRetain) !== 0,
    properties,
  };
}

/**
 * Encodes a CONNECT of the packet's version; in MQTT 3 properties are left out. Throws `TypeError` or `RangeError`
 * for a field that MQTT cannot carry.
 * @see MQTT 5.0 §3.1
 */
export function encodeConnect(packet: ConnectPacket): Buffer {
  const { protocolVersion: version, will, username, password } = packet;
  if (version !== 5 && password !== undefined && username === undefined) {
    throw new TypeError("a CONNECT of MQTT 3 has no password without a user name");
  }
  const writer = createPacketWriter();
  writeString(writer, version === 3 ? "MQIsdp" : "MQTT", "protocol name");
  writeByte(writer, version, "protocol level");
  writeByte(writer, connectFlags(packet), "connect flags");
  writeTwoBytes(writer, packet.keepAliveSeconds, "keep alive");
  if (version === 5) writeProperties(writer, packet.properties, PacketType.connect);
  writeString(writer, packet.clientId, "client identifier");
  if (will !== undefined) writeWill(writer, version, will);
  if (username !== undefined) writeString(writer, username, "user name");
  if (password !== undefined) writeBinary(writer, password, "password");
  return finishPacket(PacketType.connect, 0, writer);
}

function connectFlags(packet: ConnectPacket): number {
  let flags = 0;
  if (packet.cleanStart) flags |= ConnectFlag.cleanStart;
  if (packet.username !== undefined) flags |= ConnectFlag.username;
  if (packet.password !== undefined) flags |= ConnectFlag.password;
  if (packet.will === undefined) return flags;
  flags |= ConnectFlag.will | (packet.will.qos << willQoSShift);
  return packet.will.retain ? flags | ConnectFlag.willRetain : flags;
}

function writeWill(writer: PacketWriter, version: ProtocolVersion, will: Will): void {
  if (version === 5) writeProperties(writer, will.properties, "will");
  writeString(writer, will.topic, "will topic");
  writeBinary(writer, will.payload, "will payload");
}
