import { PacketType } from "./packets.ts";

/** Every reason code of MQTT 5, by its name in the specification. @see MQTT 5.0 §2.4 */
export const ReasonCode = {
  /** Also Normal disconnection and Granted QoS 0. */
  success: 0x00,
  grantedQoS1: 0x01,
  grantedQoS2: 0x02,
  disconnectWithWill: 0x04,
  noMatchingSubscribers: 0x10,
  noSubscriptionExisted: 0x11,
  continueAuthentication: 0x18,
  reAuthenticate: 0x19,
  unspecifiedError: 0x80,
  malformedPacket: 0x81,
  protocolError: 0x82,
  implementationSpecificError: 0x83,
  unsupportedProtocolVersion: 0x84,
  clientIdentifierNotValid: 0x85,
  badUserNameOrPassword: 0x86,
  notAuthorized: 0x87,
  serverUnavailable: 0x88,
  serverBusy: 0x89,
  banned: 0x8a,
  serverShuttingDown: 0x8b,
  badAuthenticationMethod: 0x8c,
  keepAliveTimeout: 0x8d,
  sessionTakenOver: 0x8e,
  topicFilterInvalid: 0x8f,
  topicNameInvalid: 0x90,
  packetIdentifierInUse: 0x91,
  packetIdentifierNotFound: 0x92,
  receiveMaximumExceeded: 0x93,
  topicAliasInvalid: 0x94,
  packetTooLarge: 0x95,
  messageRateTooHigh: 0x96,
  quotaExceeded: 0x97,
  administrativeAction: 0x98,
  payloadFormatInvalid: 0x99,
  retainNotSupported: 0x9a,
  qosNotSupported: 0x9b,
  useAnotherServer: 0x9c,
  serverMoved: 0x9d,
  sharedSubscriptionsNotSupported: 0x9e,
  connectionRateExceeded: 0x9f,
  maximumConnectTime: 0xa0,
  subscriptionIdentifiersNotSupported: 0xa1,
  wildcardSubscriptionsNotSupported: 0xa2,
} as const;
export type ReasonCode = (typeof ReasonCode)[keyof typeof ReasonCode];

const { connack, puback, pubrec, pubrel, pubcomp, suback, unsuback, disconnect, auth } = PacketType;

/** One row of the specification's table: code, name, the packets that may carry it. */
type ReasonCodeRow = readonly [code: ReasonCode, name: string, packets: readonly PacketType[]];

const rows: readonly ReasonCodeRow[] = [
  [0x00, "Success", [connack, puback, pubrec, pubrel, pubcomp, suback, unsuback, disconnect, auth]],
  [0x01, "Granted QoS 1", [suback]],
  [0x02, "Granted QoS 2", [suback]],
  [0x04, "Disconnect with Will Message", [disconnect]],
  [0x10, "No matching subscribers", [puback, pubrec]],
  [0x11, "No subscription existed", [unsuback]],
  [0x18, "Continue authentication", [auth]],
  [0x19, "Re-authenticate", [auth]],
  [0x80, "Unspecified error", [connack, puback, pubrec, suback, unsuback, disconnect]],
  [0x81, "Malformed Packet", [connack, disconnect]],
  [0x82, "Protocol Error", [connack, disconnect]],
  [0x83, "Implementation specific error", [connack, puback, pubrec, suback, unsuback, disconnect]],
  [0x84, "Unsupported Protocol Version", [connack]],
  [0x85, "Client Identifier not valid", [connack]],
  [0x86, "Bad User Name or Password", [connack]],
  [0x87, "Not authorized", [connack, puback, pubrec, suback, unsuback, disconnect]],
  [0x88, "Server unavailable", [connack]],
  [0x89, "Server busy", [connack, disconnect]],
  [0x8a, "Banned", [connack]],
  [0x8b, "Server shutting down", [disconnect]],
  [0x8c, "Bad authentication method", [connack, disconnect]],
  [0x8d, "Keep Alive timeout", [disconnect]],
  [0x8e, "Session taken over", [disconnect]],
  [0x8f, "Topic Filter invalid", [suback, unsuback, disconnect]],
  [0x90, "Topic Name invalid", [connack, puback, pubrec, disconnect]],
  [0x91, "Packet Identifier in use", [puback, pubrec, suback, unsuback]],
  [0x92, "Packet Identifier not found", [pubrel, pubcomp]],
  [0x93, "Receive Maximum exceeded", [disconnect]],
  [0x94, "Topic Alias invalid", [disconnect]],
  [0x95, "Packet too large", [connack, disconnect]],
  [0x96, "Message rate too high", [disconnect]],
  [0x97, "Quota exceeded", [connack, puback, pubrec, suback, disconnect]],
  [0x98, "Administrative action", [disconnect]],
  [0x99, "Payload format invalid", [connack, puback, pubrec, disconnect]],
  [0x9a, "Retain not supported", [connack, disconnect]],
  [0x9b, "QoS not supported", [connack, disconnect]],
  [0x9c, "Use another server", [connack, disconnect]],
  [0x9d, "Server moved", [connack, disconnect]],
  [0x9e, "Shared Subscriptions not supported", [suback, disconnect]],
  [0x9f, "Connection rate exceeded", [connack, disconnect]],
  [0xa0, "Maximum connect time", [disconnect]],
  [0xa1, "Subscription Identifiers not supported", [suback, disconnect]],
  [0xa2, "Wildcard Subscriptions not supported", [suback, disconnect]],
];

const nameByCode = new Map<number, string>(rows.map(([code, name]) => [code, name]));

/** For each code a bit set of packet types: bit n stands for packet type n. */
const packetsByCode = new Uint16Array(256);
for (const [code, , packets] of rows) {
  packetsByCode[code] = packets.reduce((bits, packet) => bits | (1 << packet), 0);
}

/** Whether a packet of this type may carry this reason code, whoever sends it. @see MQTT 5.0 §2.4 */
export function reasonCodeAllowed(packetType: PacketType, code: number): boolean {
  return (((packetsByCode[code] ?? 0) >> packetType) & 1) === 1;
}

/** The code's name in the specification; `0x` and two digits for a code that it does not define. */
export function reasonCodeName(code: number): string {
  return nameByCode.get(code) ?? `0x${code.toString(16).padStart(2, "0")}`;
}

/** The return codes of an MQTT 3 CONNACK, with the reason codes that mean the same. @see MQTT 3.1.1 §3.2.2.3 */
const reasonCodeByReturnCode: readonly ReasonCode[] = [
  ReasonCode.success,
  ReasonCode.unsupportedProtocolVersion,
  ReasonCode.clientIdentifierNotValid,
  ReasonCode.serverUnavailable,
  ReasonCode.badUserNameOrPassword,
  ReasonCode.notAuthorized,
];

/** "Server unavailable" asks the client to come back later: all that is the server's trouble, not the client's. */
const serverTroubles: ReadonlySet<number> = new Set<ReasonCode>([
  ReasonCode.unspecifiedError,
  ReasonCode.implementationSpecificError,
  ReasonCode.serverUnavailable,
  ReasonCode.serverBusy,
  ReasonCode.quotaExceeded,
  ReasonCode.useAnotherServer,
  ReasonCode.serverMoved,
  ReasonCode.connectionRateExceeded,
]);

/** The MQTT 3 CONNACK return code, 0 to 5, that comes nearest to an MQTT 5 reason code; 5 where none does. @see MQTT 3.1.1 §3.2.2.3 */
export function connackReturnCode(reasonCode: number): number {
  const same = reasonCodeByReturnCode.findIndex((code) => code === reasonCode);
  if (same !== -1) return same;
  return serverTroubles.has(reasonCode) ? 3 : 5;
}

/** The MQTT 5 reason code of an MQTT 3 CONNACK return code; `undefined` above 5, which are reserved. @see MQTT 3.1.1 §3.2.2.3 */
export function reasonCodeOfReturnCode(returnCode: number): ReasonCode | undefined {
  return reasonCodeByReturnCode[returnCode];
}
