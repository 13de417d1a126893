/** MQTT control packets as values. Fields are always present (one hidden class per packet); absent ones are `undefined`. */

/** 3 = MQTT 3.1 (MQIsdp), 4 = MQTT 3.1.1, 5 = MQTT 5.0: the protocol level byte. */
export type ProtocolVersion = 3 | 4 | 5;
/** How sure delivery is: at most once, at least once, exactly once. @see MQTT 5.0 §4.3 */
export type QoS = 0 | 1 | 2;

/** @see MQTT 5.0 §2.1.2 */
export const PacketType = {
  connect: 1,
  connack: 2,
  publish: 3,
  puback: 4,
  pubrec: 5,
  pubrel: 6,
  pubcomp: 7,
  subscribe: 8,
  suback: 9,
  unsubscribe: 10,
  unsuback: 11,
  pingreq: 12,
  pingresp: 13,
  disconnect: 14,
  auth: 15,
} as const;
export type PacketType = (typeof PacketType)[keyof typeof PacketType];

/** A pair of texts that mean something to applications only; a name may come again. @see MQTT 5.0 §2.2.2.2 */
export type UserProperty = readonly [name: string, value: string];

/** The MQTT 5 properties of any packet. Only what was present is set. @see MQTT 5.0 §2.2.2.2 */
export interface Properties {
  payloadFormatIndicator?: 0 | 1;
  messageExpiryInterval?: number;
  contentType?: string;
  responseTopic?: string;
  correlationData?: Uint8Array;
  /** One at most in SUBSCRIBE; one for each matching subscription in a PUBLISH from the server. */
  subscriptionIdentifiers?: readonly number[];
  sessionExpiryInterval?: number;
  assignedClientIdentifier?: string;
  serverKeepAlive?: number;
  authenticationMethod?: string;
  authenticationData?: Uint8Array;
  requestProblemInformation?: 0 | 1;
  willDelayInterval?: number;
  requestResponseInformation?: 0 | 1;
  responseInformation?: string;
  serverReference?: string;
  reasonString?: string;
  receiveMaximum?: number;
  topicAliasMaximum?: number;
  topicAlias?: number;
  maximumQoS?: 0 | 1;
  retainAvailable?: 0 | 1;
  userProperties?: readonly UserProperty[];
  maximumPacketSize?: number;
  wildcardSubscriptionAvailable?: 0 | 1;
  subscriptionIdentifierAvailable?: 0 | 1;
  sharedSubscriptionAvailable?: 0 | 1;
}

/** Shared by every packet that carries no properties, and by all of MQTT 3. */
export const noProperties: Readonly<Properties> = Object.freeze({});

/** What the server publishes when the connection ends without a DISCONNECT. @see MQTT 5.0 §3.1.2.5 */
export interface Will {
  readonly topic: string;
  readonly payload: Uint8Array;
  readonly qos: QoS;
  readonly retain: boolean;
  readonly properties: Readonly<Properties>;
}

/** @see MQTT 5.0 §3.1 */
export interface ConnectPacket {
  readonly protocolVersion: ProtocolVersion;
  /** MQTT 5 Clean Start; Clean Session in MQTT 3. */
  readonly cleanStart: boolean;
  readonly keepAliveSeconds: number;
  readonly clientId: string;
  readonly username: string | undefined;
  readonly password: Uint8Array | undefined;
  readonly will: Will | undefined;
  readonly properties: Readonly<Properties>;
}

/** @see MQTT 5.0 §3.2 */
export interface ConnackPacket {
  readonly sessionPresent: boolean;
  /** An MQTT 5 reason code; the encoder maps it to a return code for MQTT 3. */
  readonly reasonCode: number;
  readonly properties: Readonly<Properties>;
}

/** PUBACK, PUBREC, PUBREL and PUBCOMP. */
export interface AckPacket {
  readonly packetId: number;
  /** 0 in MQTT 3. */
  readonly reasonCode: number;
  readonly properties: Readonly<Properties>;
}

/** One topic filter of a SUBSCRIBE with its options, which but for the QoS are false or 0 in MQTT 3. @see MQTT 5.0 §3.8.3 */
export interface SubscribeRequest {
  readonly filter: string;
  readonly qos: QoS;
  readonly noLocal: boolean;
  readonly retainAsPublished: boolean;
  readonly retainHandling: 0 | 1 | 2;
}

/** @see MQTT 5.0 §3.8 */
export interface SubscribePacket {
  readonly packetId: number;
  readonly requests: readonly SubscribeRequest[];
  readonly properties: Readonly<Properties>;
}

/** @see MQTT 5.0 §3.10 */
export interface UnsubscribePacket {
  readonly packetId: number;
  readonly filters: readonly string[];
  readonly properties: Readonly<Properties>;
}

/** SUBACK and UNSUBACK. */
export interface SubackPacket {
  readonly packetId: number;
  readonly reasonCodes: readonly number[];
  readonly properties: Readonly<Properties>;
}

/** DISCONNECT and AUTH. */
export interface ReasonPacket {
  readonly reasonCode: number;
  readonly properties: Readonly<Properties>;
}
