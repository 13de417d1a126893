import { type Cursor, createCursor, fail } from "./cursor.ts";
import { readBinary, readByte, readFourBytes, readString, readTwoBytes, readVariable } from "./cursor.ts";
import { type Decoded, malformed, protocolError } from "./malformed.ts";
import { noProperties, type Properties, PacketType, type UserProperty } from "./packets.ts";
import { type PacketWriter, createPacketWriter, writtenBytes } from "./packet-writer.ts";
import {
  writeBinary,
  writeByte,
  writeFourBytes,
  writeRaw,
  writeString,
  writeTwoBytes,
  writeVariable,
} from "./packet-writer.ts";
import {
  type PropertyPlace,
  type PropertyRow,
  propertyAllowed,
  propertyRow,
  propertyTable,
} from "./property-table.ts";
import { ReasonCode } from "./reason-codes.ts";
import { isTopicName } from "./topics.ts";

/** Properties under construction: the lists can still grow. */
interface GrowingProperties extends Properties {
  subscriptionIdentifiers?: number[];
  userProperties?: UserProperty[];
}

/** What `decodeProperties` found, and the offset after it. */
export interface LocatedProperties {
  readonly properties: Readonly<Properties>;
  readonly end: number;
}

/**
 * Decodes a property length and the properties after it, which must end before `end`. The number of user properties
 * is bounded by nothing but the bytes: `properties.userProperties.length` is for the caller to look at.
 * @see MQTT 5.0 §2.2.2
 */
export function decodeProperties(
  bytes: Buffer,
  offset: number,
  end: number,
  place: PropertyPlace,
): Decoded<LocatedProperties> {
  const cursor = createCursor(bytes, offset, end);
  const properties = readProperties(cursor, place);
  return cursor.failure ?? { kind: "value", value: { properties, end: cursor.offset } };
}

/** Reads a property length and the properties after it; `noProperties` when there are none or on failure. */
export function readProperties(cursor: Cursor, place: PropertyPlace): Readonly<Properties> {
  const length = readVariable(cursor, "property length");
  if (length === 0) return noProperties;
  if (cursor.offset + length > cursor.end) {
    fail(cursor, malformed("the property length reaches beyond the packet (MQTT 5.0 §2.2.2.1)"));
    return noProperties;
  }
  const packetEnd = cursor.end;
  cursor.end = cursor.offset + length;
  const properties = readPropertyList(cursor, place);
  cursor.end = packetEnd;
  if (cursor.failure !== undefined) cursor.offset = packetEnd;
  return properties;
}

/** Reads properties up to the cursor's end. */
export function readPropertyList(cursor: Cursor, place: PropertyPlace): Readonly<Properties> {
  const properties: GrowingProperties = {};
  while (cursor.offset < cursor.end) {
    const id = readVariable(cursor, "property identifier");
    if (cursor.failure !== undefined) break;
    const row = propertyRow(id);
    if (row === undefined || !propertyAllowed(row, place)) {
      const name = row === undefined ? `0x${id.toString(16)}` : row.name;
      fail(cursor, malformed(`property ${name} does not belong in ${placeName(place)} (MQTT 5.0 §2.2.2.2)`));
      break;
    }
    if (properties[row.name] !== undefined && !mayRepeat(row, place)) {
      fail(cursor, protocolError(`property ${row.name} comes more than once (MQTT 5.0 §2.2.2.2)`));
      break;
    }
    readValue(cursor, row, properties);
  }
  return properties;
}

function mayRepeat(row: PropertyRow, place: PropertyPlace): boolean {
  return (
    row.form === "userProperty" || (row.form === "subscriptionIdentifier" && place === PacketType.publish)
  );
}

function readValue(cursor: Cursor, row: PropertyRow, properties: GrowingProperties): void {
  switch (row.form) {
    case "flag":
      properties[row.name] = readFlag(cursor, row.name);
      return;
    case "twoBytes":
    case "fourBytes": {
      const value =
        row.form === "twoBytes" ? readTwoBytes(cursor, row.name) : readFourBytes(cursor, row.name);
      if (value === 0 && row.zero !== "allowed") fail(cursor, zeroRefused(row.name, row.zero));
      properties[row.name] = value;
      return;
    }
    case "string":
      properties[row.name] = readString(cursor, row.name);
      if (row.name === "responseTopic") checkResponseTopic(cursor, properties.responseTopic ?? "");
      return;
    case "binary":
      properties[row.name] = readBinary(cursor, row.name);
      return;
    case "subscriptionIdentifier": {
      const identifier = readVariable(cursor, row.name);
      if (identifier === 0) {
        fail(cursor, protocolError("a Subscription Identifier is 0 (MQTT 5.0 §3.8.2.1.2)"));
      }
      (properties.subscriptionIdentifiers ??= []).push(identifier);
      return;
    }
    case "userProperty": {
      const name = readString(cursor, "name of a user property");
      (properties.userProperties ??= []).push([name, readString(cursor, "value of a user property")]);
      return;
    }
    default:
      row satisfies never;
  }
}

function readFlag(cursor: Cursor, name: string): 0 | 1 {
  const value = readByte(cursor, name);
  if (value > 1)
    fail(cursor, protocolError(`property ${name} is ${value}, neither 0 nor 1 (MQTT 5.0 §2.2.2.2)`));
  return value === 1 ? 1 : 0;
}

function zeroRefused(name: string, rule: "protocolError" | "topicAliasInvalid") {
  const reason = `property ${name} is 0 (MQTT 5.0 §2.2.2.2)`;
  if (rule === "protocolError") return protocolError(reason);
  return { kind: "malformed", reasonCode: ReasonCode.topicAliasInvalid, reason } as const;
}

function checkResponseTopic(cursor: Cursor, topic: string): void {
  if (cursor.failure !== undefined || isTopicName(topic)) return;
  fail(cursor, protocolError("the Response Topic is empty or holds a wildcard (MQTT 5.0 §3.3.2.3.5)"));
}

function placeName(place: PropertyPlace): string {
  if (place === "will") return "the Will Properties";
  const found = Object.entries(PacketType).find(([, type]) => type === place);
  return (found?.[0] ?? "").toUpperCase();
}

/**
 * The properties in wire form, without the property length before them; no bytes for none.
 * Throws `TypeError` for a property that does not belong in this place or a text MQTT forbids, and `RangeError` for
 * a value that does not fit.
 */
export function encodePropertyList(properties: Readonly<Properties>, place: PropertyPlace): Buffer {
  const writer = createPacketWriter();
  for (const row of propertyTable) {
    if (properties[row.name] === undefined) continue;
    if (!propertyAllowed(row, place)) {
      throw new TypeError(`property ${row.name} does not belong in ${placeName(place)}`);
    }
    writeProperty(writer, row, properties);
  }
  return writtenBytes(writer);
}

/** Writes the property length and the properties. Throws as `encodePropertyList` does. */
export function writeProperties(
  writer: PacketWriter,
  properties: Readonly<Properties>,
  place: PropertyPlace,
): void {
  const list = encodePropertyList(properties, place);
  writeVariable(writer, list.length, "property length");
  writeRaw(writer, list);
}

/** Writes the property, once for each value it has; nothing when it is absent. */
export function writeProperty(
  writer: PacketWriter,
  row: PropertyRow,
  properties: Readonly<Properties>,
): void {
  switch (row.form) {
    case "flag":
      return writeOne(writer, row, properties[row.name], writeByte);
    case "twoBytes":
      return writeOne(writer, row, properties[row.name], writeTwoBytes);
    case "fourBytes":
      return writeOne(writer, row, properties[row.name], writeFourBytes);
    case "string":
      return writeOne(writer, row, properties[row.name], writeString);
    case "binary":
      return writeOne(writer, row, properties[row.name], writeBinary);
    case "subscriptionIdentifier":
      for (const identifier of properties.subscriptionIdentifiers ?? []) {
        writeOne(writer, row, identifier, writeVariable);
      }
      return;
    case "userProperty":
      for (const pair of properties.userProperties ?? []) writeOne(writer, row, pair, writePair);
      return;
    default:
      row satisfies never;
  }
}

type WriteValue<T> = (writer: PacketWriter, value: T, field: string) => void;

function writeOne<T>(
  writer: PacketWriter,
  row: PropertyRow,
  value: T | undefined,
  write: WriteValue<T>,
): void {
  if (value === undefined) return;
  // Every identifier is below 128, so that its variable byte integer is one byte.
  writeByte(writer, row.id, "property identifier");
  write(writer, value, row.name);
}

function writePair(writer: PacketWriter, [name, value]: UserProperty): void {
  writeString(writer, name, "name of a user property");
  writeString(writer, value, "value of a user property");
}
