import { InvalidArgumentError } from "commander";

import { PacketType, type Properties, type UserProperty } from "@postern/mqtt/packets";
import {
  propertyAllowed,
  propertyTable,
  type PropertyPlace,
  type PropertyRow,
} from "@postern/mqtt/property-table";
import { isTopicName } from "@postern/mqtt/topics";

import { UsageError } from "../errors.ts";

/** One `--property`: `[connect.|will.]name=value`. */
export interface PropertyOption {
  readonly row: PropertyRow;
  readonly value: string;
  readonly place: "connect" | "will" | undefined;
}

/** Where the properties of one command line go: the command's own packet (PUBLISH, SUBSCRIBE), CONNECT and the will. */
export interface PlacedProperties {
  readonly own: Properties;
  readonly connect: Properties;
  readonly will: Properties;
}

/** In the specification's words: `message-expiry-interval`. */
function optionName(row: PropertyRow): string {
  if (row.form === "userProperty") return "user-property";
  if (row.form === "subscriptionIdentifier") return "subscription-identifier";
  return row.name.replace(/[A-Z]+/g, (capitals) => `-${capitals.toLowerCase()}`);
}

/** Enhanced authentication is not spoken, so its properties would only break the connection. */
const notOffered: ReadonlySet<string> = new Set(["authentication-method", "authentication-data"]);

const rows = new Map(
  propertyTable
    .map((row) => [optionName(row), row] as const)
    .filter(([name, row]) => !notOffered.has(name) && isClientProperty(row)),
);

function isClientProperty(row: PropertyRow): boolean {
  const places: readonly PropertyPlace[] = [
    PacketType.connect,
    PacketType.publish,
    PacketType.subscribe,
    "will",
  ];
  return places.some((place) => propertyAllowed(row, place));
}

/** Splits `NAME=VALUE` at the first `=`. */
function splitPair(text: string): readonly [name: string, value: string] {
  const at = text.indexOf("=");
  if (at < 1) throw new InvalidArgumentError("Write NAME=VALUE.");
  return [text.slice(0, at), text.slice(at + 1)];
}

/** Parses one `--user-property` and appends it. For commander. */
export function collectUserProperty(text: string, previous: readonly UserProperty[] = []): UserProperty[] {
  return [...previous, splitPair(text)];
}

/** Parses one `--property` and appends it. For commander. */
export function collectProperty(text: string, previous: readonly PropertyOption[] = []): PropertyOption[] {
  const [qualified, value] = splitPair(text);
  const [, prefix, name = ""] = /^(?:(connect|will)\.)?(.*)$/s.exec(qualified) ?? [];
  const row = rows.get(name);
  if (row === undefined) {
    throw new InvalidArgumentError(`MQTT 5 has these: ${[...rows.keys()].sort().join(", ")}.`);
  }
  const place = prefix === "connect" || prefix === "will" ? prefix : undefined;
  return [...previous, { row, value, place }];
}

function parseNumber({ row, value }: PropertyOption, max: number): number {
  const min = row.form === "twoBytes" || row.form === "fourBytes" ? (row.zero === "allowed" ? 0 : 1) : 1;
  const number = /^\d{1,10}$/.test(value) ? Number(value) : -1;
  if (number >= min && number <= max) return number;
  throw new UsageError(`--property ${optionName(row)}=${value} is not a whole number from ${min} to ${max}`);
}

function parseFlag({ row, value }: PropertyOption): 0 | 1 {
  if (value === "1" || value === "true") return 1;
  if (value === "0" || value === "false") return 0;
  throw new UsageError(`--property ${optionName(row)}=${value} is neither 0 nor 1`);
}

/** Bytes as an option's text: itself in UTF-8, or after `hex:` or `base64:`. */
export function parseBinary(text: string): Uint8Array {
  const hex = /^hex:((?:[0-9a-f]{2})*)$/i.exec(text)?.[1];
  if (hex !== undefined) return Buffer.from(hex, "hex");
  const base64 = /^base64:([0-9a-z+/_-]*={0,2})$/i.exec(text)?.[1];
  if (base64 !== undefined) return Buffer.from(base64, "base64");
  return Buffer.from(text, "utf8");
}

/** @see MQTT 5.0 §1.5.4 for the length, §3.3.2.3.5 [MQTT-3.3.2-14] for the response topic */
function parseText({ row, value }: PropertyOption): string {
  if (Buffer.byteLength(value) > 65_535) {
    throw new UsageError(`--property ${optionName(row)} has more than 65,535 bytes`);
  }
  if (row.name === "responseTopic" && !isTopicName(value)) {
    throw new UsageError(`the response topic "${value}" must be a topic to publish to, without wildcards`);
  }
  return value;
}

function setProperty(properties: Properties, option: PropertyOption): void {
  const { row } = option;
  switch (row.form) {
    case "flag":
      properties[row.name] = parseFlag(option);
      break;
    case "twoBytes":
      properties[row.name] = parseNumber(option, 0xff_ff);
      break;
    case "fourBytes":
      properties[row.name] = parseNumber(option, 0xff_ff_ff_ff);
      break;
    case "string":
      properties[row.name] = parseText(option);
      break;
    case "binary":
      properties[row.name] = parseBinary(option.value);
      break;
    case "subscriptionIdentifier":
      properties[row.name] = [parseNumber(option, 0x0f_ff_ff_ff)];
      break;
    case "userProperty":
      properties[row.name] = [...(properties[row.name] ?? []), splitPair(option.value)];
      break;
    default:
      row satisfies never;
  }
}

/**
 * Puts each property where its prefix says, or into the first of the command's own packet, CONNECT and the will that
 * may carry it.
 * @throws {UsageError} for a bad value, and for a property that may not stand there.
 * @see MQTT 5.0 §2.2.2.2, Table 2-4
 */
export function placeProperties(
  options: readonly PropertyOption[],
  own: typeof PacketType.publish | typeof PacketType.subscribe,
): PlacedProperties {
  const placed: PlacedProperties = { own: {}, connect: {}, will: {} };
  const packets: readonly (readonly [keyof PlacedProperties, PropertyPlace])[] = [
    ["own", own],
    ["connect", PacketType.connect],
    ["will", "will"],
  ];
  for (const option of options) {
    const { row, place } = option;
    const home = packets.find(
      ([name, packet]) => (place === undefined || place === name) && propertyAllowed(row, packet),
    );
    // A client sends subscription identifiers in SUBSCRIBE only. @see MQTT 5.0 §3.3.4 [MQTT-3.3.4-6]
    const misplaced = row.form === "subscriptionIdentifier" && own === PacketType.publish;
    if (home === undefined || misplaced) {
      const where = place ?? (own === PacketType.publish ? "a message" : "a subscription");
      throw new UsageError(`--property ${optionName(row)}: MQTT 5 has no such property for ${where}`);
    }
    setProperty(placed[home[0]], option);
  }
  return placed;
}
