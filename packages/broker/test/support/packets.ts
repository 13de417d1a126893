import { concat, field, packet, raw, u16, u32, utf8, variableByteInteger } from "./bytes.ts";

/** 3 = MQTT 3.1, 4 = MQTT 3.1.1, 5 = MQTT 5.0. */
export type Version = 3 | 4 | 5;
export type QoS = 0 | 1 | 2;
type Text = string | Uint8Array;

/** MQTT 5 properties as bytes, identifier first. @see MQTT 5.0 §2.2.2.2 */
export const property = {
  payloadFormatIndicator: (value: number) => raw(0x01, value),
  messageExpiryInterval: (seconds: number) => concat(raw(0x02), u32(seconds)),
  contentType: (value: Text) => concat(raw(0x03), field(value)),
  responseTopic: (value: Text) => concat(raw(0x08), field(value)),
  correlationData: (value: Text) => concat(raw(0x09), field(value)),
  subscriptionIdentifier: (value: number) => concat(raw(0x0b), variableByteInteger(value)),
  sessionExpiryInterval: (seconds: number) => concat(raw(0x11), u32(seconds)),
  authenticationMethod: (value: Text) => concat(raw(0x15), field(value)),
  authenticationData: (value: Text) => concat(raw(0x16), field(value)),
  requestProblemInformation: (value: number) => raw(0x17, value),
  willDelayInterval: (seconds: number) => concat(raw(0x18), u32(seconds)),
  requestResponseInformation: (value: number) => raw(0x19, value),
  reasonString: (value: Text) => concat(raw(0x1f), field(value)),
  receiveMaximum: (value: number) => concat(raw(0x21), u16(value)),
  topicAliasMaximum: (value: number) => concat(raw(0x22), u16(value)),
  topicAlias: (value: number) => concat(raw(0x23), u16(value)),
  userProperty: (name: Text, value: Text) => concat(raw(0x26), field(name), field(value)),
  maximumPacketSize: (bytes: number) => concat(raw(0x27), u32(bytes)),
} as const;

/** The length and the properties in MQTT 5, nothing before. */
export function propertiesOf(version: Version, properties: readonly Uint8Array[] = []): Uint8Array {
  if (version !== 5) return raw();
  const bytes = concat(...properties);
  return concat(variableByteInteger(bytes.length), bytes);
}

export interface WillOptions {
  readonly topic: Text;
  readonly payload?: Text;
  readonly qos?: number;
  readonly retain?: boolean;
  readonly properties?: readonly Uint8Array[];
}

export interface ConnectOptions {
  readonly clientId?: Text;
  /** Clean Start, or Clean Session before MQTT 5; true unless given. */
  readonly clean?: boolean;
  readonly keepAliveSeconds?: number;
  readonly will?: WillOptions;
  readonly username?: Text;
  readonly password?: Text;
  readonly properties?: readonly Uint8Array[];
  /** For malformed packets: what stands in the place of the right name, level or flags. */
  readonly protocolName?: Text;
  readonly protocolLevel?: number;
  readonly flags?: number;
}

/** What `connect` would put into the connect flags. */
export function connectFlags(options: ConnectOptions): number {
  const { clean = true, will } = options;
  let flags = clean ? 0x02 : 0;
  if (will !== undefined) flags |= 0x04 | ((will.qos ?? 0) << 3) | (will.retain === true ? 0x20 : 0);
  if (options.password !== undefined) flags |= 0x40;
  if (options.username !== undefined) flags |= 0x80;
  return flags;
}

export function connect(version: Version, options: ConnectOptions = {}): Uint8Array {
  const { will } = options;
  const payload = [field(options.clientId ?? "")];
  if (will !== undefined) {
    payload.push(propertiesOf(version, will.properties), field(will.topic), field(will.payload ?? ""));
  }
  if (options.username !== undefined) payload.push(field(options.username));
  if (options.password !== undefined) payload.push(field(options.password));
  return packet(
    0x10,
    field(options.protocolName ?? (version === 3 ? "MQIsdp" : "MQTT")),
    raw(options.protocolLevel ?? version, options.flags ?? connectFlags(options)),
    u16(options.keepAliveSeconds ?? 0),
    propertiesOf(version, options.properties),
    ...payload,
  );
}

export interface PublishOptions {
  readonly topic: Text;
  readonly payload?: Text;
  readonly qos?: number;
  readonly retain?: boolean;
  readonly dup?: boolean;
  readonly packetId?: number;
  readonly properties?: readonly Uint8Array[];
}

export function publish(version: Version, options: PublishOptions): Uint8Array {
  const { qos = 0, retain = false, dup = false, packetId } = options;
  return packet(
    0x30 | (dup ? 0x08 : 0) | (qos << 1) | (retain ? 0x01 : 0),
    field(options.topic),
    packetId === undefined ? raw() : u16(packetId),
    propertiesOf(version, options.properties),
    utf8(options.payload ?? ""),
  );
}

export interface AckOptions {
  readonly reasonCode?: number;
  readonly properties?: readonly Uint8Array[];
}

function acknowledgement(firstByte: number, packetId: number, options: AckOptions): Uint8Array {
  const { reasonCode, properties } = options;
  if (reasonCode === undefined) return packet(firstByte, u16(packetId));
  if (properties === undefined) return packet(firstByte, u16(packetId), raw(reasonCode));
  return packet(firstByte, u16(packetId), raw(reasonCode), propertiesOf(5, properties));
}

export function puback(packetId: number, options: AckOptions = {}): Uint8Array {
  return acknowledgement(0x40, packetId, options);
}

export function pubrec(packetId: number, options: AckOptions = {}): Uint8Array {
  return acknowledgement(0x50, packetId, options);
}

export function pubrel(packetId: number, options: AckOptions = {}): Uint8Array {
  return acknowledgement(0x62, packetId, options);
}

export function pubcomp(packetId: number, options: AckOptions = {}): Uint8Array {
  return acknowledgement(0x70, packetId, options);
}

/** Bits of the subscription options in MQTT 5; the QoS is below them. @see MQTT 5.0 §3.8.3.1 */
export const subscriptionOption = {
  noLocal: 0x04,
  retainAsPublished: 0x08,
  retainIfNew: 0x10,
  retainNever: 0x20,
} as const;

export function subscribe(
  version: Version,
  packetId: number,
  requests: readonly (readonly [filter: Text, options: number])[],
  properties: readonly Uint8Array[] = [],
): Uint8Array {
  return packet(
    0x82,
    u16(packetId),
    propertiesOf(version, properties),
    ...requests.flatMap(([filter, options]) => [field(filter), raw(options)]),
  );
}

export function unsubscribe(
  version: Version,
  packetId: number,
  filters: readonly Text[],
  properties: readonly Uint8Array[] = [],
): Uint8Array {
  return packet(
    0xa2,
    u16(packetId),
    propertiesOf(version, properties),
    ...filters.map((filter) => field(filter)),
  );
}

export const pingreq = raw(0xc0, 0);

/** Without options, the two bytes that every version understands. */
export function disconnect(options: AckOptions = {}): Uint8Array {
  const { reasonCode, properties } = options;
  if (reasonCode === undefined) return raw(0xe0, 0);
  return packet(0xe0, raw(reasonCode), properties === undefined ? raw() : propertiesOf(5, properties));
}

export function auth(reasonCode: number, properties: readonly Uint8Array[]): Uint8Array {
  return packet(0xf0, raw(reasonCode), propertiesOf(5, properties));
}
