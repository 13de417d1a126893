import { concat, field, packet, raw, u16, u32, utf8 } from "./bytes.ts";
import * as packets from "./packets.ts";
import { property, type Version } from "./packets.ts";
import type { ReceivedKind } from "./received.ts";

/** Malformed and hostile input, byte by byte, and exactly what becomes of it. */
export type Outcome =
  /** The connection is closed without a word. */
  | "closed"
  /** CONNACK with this code, then closed. */
  | { readonly connack: number }
  /** DISCONNECT with this reason code, then closed. */
  | { readonly disconnect: number }
  /** Answered with this packet (nothing for `undefined`), and the connection goes on. */
  | { readonly answered: ReceivedKind | undefined };

const ignored: Outcome = { answered: undefined };

/** What is sent, and what is expected of a broker when the client speaks MQTT 3.1.1 or MQTT 5.0. */
export interface Row {
  readonly name: string;
  readonly bytes: Uint8Array | ((version: Version) => Uint8Array);
  readonly outcomes: { readonly 4?: Outcome; readonly 5?: Outcome };
}

function always(name: string, bytes: Row["bytes"], outcome: Outcome): Row {
  return { name, bytes, outcomes: { 4: outcome, 5: outcome } };
}

function each(name: string, bytes: Row["bytes"], outcome4: Outcome, outcome5: Outcome): Row {
  return { name, bytes, outcomes: { 4: outcome4, 5: outcome5 } };
}

/** Malformed: MQTT 3.1.1 has no word for it. */
function malformed(name: string, bytes: Row["bytes"], reasonCode = 0x81): Row {
  return each(name, bytes, "closed", { disconnect: reasonCode });
}

function only5(name: string, bytes: Uint8Array, outcome: Outcome): Row {
  return { name, bytes, outcomes: { 5: outcome } };
}

const id = "hostile";
const topic = field("t");

/** A CONNECT whose parts are given one by one. */
function connectOf(version: Version, flags: number, ...payload: Uint8Array[]): Uint8Array {
  const properties = packets.propertiesOf(version);
  return packet(0x10, field("MQTT"), raw(version, flags), u16(0), properties, ...payload);
}

/** An MQTT 5 CONNECT with these bytes for its properties, length included. */
function connectWith(...properties: Uint8Array[]): Uint8Array {
  return packet(0x10, field("MQTT"), raw(5, 2), u16(0), ...properties, field(id));
}

function publishWith(...properties: Uint8Array[]): Uint8Array {
  return packets.publish(5, { topic: "t", properties });
}

/** Sent in the place of CONNECT. */
export const beforeConnect: readonly Row[] = [
  always("nothing, then the end", raw(), ignored),
  always(
    "an HTTP request",
    utf8(`GET / HTTP/1.1\r\nHost: broker\r\nUser-Agent: ${"x".repeat(80)}\r\n\r\n`),
    "closed",
  ),
  always(
    "a TLS ClientHello",
    raw(0x16, 0x03, 0x01, 0x02, 0x00, 0x01, 0x00, 0x01, 0xfc, 0x03, 0x03),
    "closed",
  ),
  always("zeros", new Uint8Array(1_024), "closed"),
  always("ones", new Uint8Array(1_024).fill(0xff), "closed"),
  always("the reserved packet type 0", raw(0x00, 0x00), "closed"),
  always("PUBLISH", packets.publish(4, { topic: "t", retain: true, payload: "x" }), "closed"),
  always("SUBSCRIBE to everything", packets.subscribe(4, 1, [["#", 2]]), "closed"),
  always("PUBACK", packets.puback(1), "closed"),
  always("PUBREL", packets.pubrel(1), "closed"),
  always("PINGREQ", packets.pingreq, "closed"),
  always("DISCONNECT", packets.disconnect(), "closed"),
  always("AUTH", packets.auth(0x18, [property.authenticationMethod("m")]), "closed"),
  always("CONNACK, a server's packet", raw(0x20, 2, 0, 0), "closed"),
  always("a first packet that announces 256 MB", raw(0x30, 0xff, 0xff, 0xff, 0x7f), "closed"),
  always("CONNECT that announces 256 MB", raw(0x10, 0xff, 0xff, 0xff, 0x7f), "closed"),
  always("CONNECT that announces one byte more than 4,096", raw(0x10, 0xff, 0x1f), "closed"),
  always("a remaining length of five bytes", raw(0x10, 0x80, 0x80, 0x80, 0x80, 0x01), "closed"),
  always("CONNECT with reserved flags", raw(0x11, 0x00), "closed"),
];

/** CONNECT packets. */
export const asConnect: readonly Row[] = [
  always("an empty CONNECT", packet(0x10), "closed"),
  always(
    "the protocol name of nobody",
    (v) => packets.connect(v, { clientId: id, protocolName: "HTTP" }),
    "closed",
  ),
  always(
    "a protocol name in lower case",
    (v) => packets.connect(v, { clientId: id, protocolName: "mqtt" }),
    "closed",
  ),
  always("an empty protocol name", (v) => packets.connect(v, { clientId: id, protocolName: "" }), "closed"),
  always("a protocol name longer than the packet", packet(0x10, u16(60_000), utf8("MQTT")), "closed"),
  always("CONNECT that ends after the name", packet(0x10, field("MQTT")), "closed"),
  {
    name: "protocol level 0",
    bytes: packets.connect(4, { clientId: id, protocolLevel: 0 }),
    outcomes: { 4: { connack: 1 } },
  },
  each("CONNECT that ends after the flags", (v) => packet(0x10, field("MQTT"), raw(v, 2)), "closed", {
    connack: 0x81,
  }),
  each("the reserved connect flag", (v) => packets.connect(v, { clientId: id, flags: 3 }), "closed", {
    connack: 0x81,
  }),
  each("will QoS 3", (v) => packets.connect(v, { clientId: id, will: { topic: "w", qos: 3 } }), "closed", {
    connack: 0x81,
  }),
  each("will QoS without will", (v) => packets.connect(v, { clientId: id, flags: 0x0a }), "closed", {
    connack: 0x81,
  }),
  each("will retain without will", (v) => packets.connect(v, { clientId: id, flags: 0x22 }), "closed", {
    connack: 0x81,
  }),
  each("a will flag and no will", (v) => connectOf(v, 0x06, field(id)), "closed", { connack: 0x81 }),
  each("an empty will topic", (v) => packets.connect(v, { clientId: id, will: { topic: "" } }), "closed", {
    connack: 0x90,
  }),
  each(
    "a will topic with a wildcard",
    (v) => packets.connect(v, { clientId: id, will: { topic: "a/#" } }),
    "closed",
    {
      connack: 0x90,
    },
  ),
  each(
    "a will topic for the broker's own topics",
    (v) => packets.connect(v, { clientId: id, will: { topic: "$SYS/x" } }),
    { connack: 5 },
    { connack: 0x87 },
  ),
  each(
    "a will payload longer than the packet",
    (v) => connectOf(v, 0x06, field(id), packets.propertiesOf(v), topic, u16(500)),
    "closed",
    { connack: 0x81 },
  ),
  each("a client id with U+0000", (v) => packets.connect(v, { clientId: "a\0b" }), "closed", {
    connack: 0x81,
  }),
  each("a client id that is not UTF-8", (v) => packets.connect(v, { clientId: raw(0xc0, 0x80) }), "closed", {
    connack: 0x81,
  }),
  each("a client id longer than the packet", (v) => connectOf(v, 0x02, u16(9), utf8("abc")), "closed", {
    connack: 0x81,
  }),
  each(
    "a client id of 513 bytes",
    (v) => packets.connect(v, { clientId: "x".repeat(513) }),
    { connack: 2 },
    { connack: 0x85 },
  ),
  {
    name: "no client id for a session that is to stay",
    bytes: packets.connect(4, { clean: false }),
    outcomes: { 4: { connack: 2 } },
  },
  each(
    "a user name that is not UTF-8",
    (v) => packets.connect(v, { clientId: id, username: raw(0xff) }),
    "closed",
    { connack: 0x81 },
  ),
  each("a user name flag and no user name", (v) => connectOf(v, 0x82, field(id)), "closed", {
    connack: 0x81,
  }),
  each("a password flag and no password", (v) => connectOf(v, 0xc2, field(id), field("user")), "closed", {
    connack: 0x81,
  }),
  {
    name: "a password without user name",
    bytes: packets.connect(4, { clientId: id, password: "p" }),
    outcomes: { 4: "closed" },
  },
  each("bytes after the payload", (v) => connectOf(v, 0x02, field(id), raw(0)), "closed", { connack: 0x81 }),
  only5("properties longer than the packet", connectWith(raw(100)), { connack: 0x81 }),
  only5("a property length of five bytes", connectWith(raw(0x80, 0x80, 0x80, 0x80, 0x01)), { connack: 0x81 }),
  only5("a property length that is not in its shortest form", connectWith(raw(0x80, 0x00)), {
    connack: 0x81,
  }),
  only5("an unknown property", connectWith(raw(2, 0x7f, 1)), { connack: 0x81 }),
  only5("a property of another packet", connectWith(raw(3), property.topicAlias(1)), { connack: 0x81 }),
  only5("a property cut short", connectWith(raw(3), raw(0x11, 0, 0)), { connack: 0x81 }),
  only5(
    "the session expiry twice",
    connectWith(raw(10), property.sessionExpiryInterval(1), property.sessionExpiryInterval(1)),
    { connack: 0x82 },
  ),
  only5("Receive Maximum 0", connectWith(raw(3), property.receiveMaximum(0)), { connack: 0x82 }),
  only5("Maximum Packet Size 0", connectWith(raw(5), property.maximumPacketSize(0)), { connack: 0x82 }),
  only5("Request Problem Information 2", connectWith(raw(2), property.requestProblemInformation(2)), {
    connack: 0x82,
  }),
  only5("authentication data without a method", connectWith(raw(4), property.authenticationData("x")), {
    connack: 0x82,
  }),
  only5("an authentication method nobody knows", connectWith(raw(4), property.authenticationMethod("x")), {
    connack: 0x8c,
  }),
  only5("a user property that is not UTF-8", connectWith(raw(7), property.userProperty(raw(0xff), "v")), {
    connack: 0x81,
  }),
  only5(
    "65 user properties",
    packets.connect(5, {
      clientId: id,
      properties: Array.from({ length: 65 }, () => property.userProperty("a", "b")),
    }),
    { connack: 0x97 },
  ),
  only5(
    "a will with a property of CONNECT",
    packets.connect(5, { clientId: id, will: { topic: "w", properties: [property.receiveMaximum(1)] } }),
    { connack: 0x81 },
  ),
  only5(
    "a will with Payload Format Indicator 2",
    packets.connect(5, {
      clientId: id,
      will: { topic: "w", properties: [property.payloadFormatIndicator(2)] },
    }),
    { connack: 0x82 },
  ),
  only5(
    "a will with a response topic that has a wildcard",
    packets.connect(5, { clientId: id, will: { topic: "w", properties: [property.responseTopic("a/+")] } }),
    { connack: 0x82 },
  ),
];

/** Sent on a connection that was accepted. */
export const afterConnect: readonly Row[] = [
  malformed("the reserved packet type 0", raw(0x00, 0x00)),
  malformed("a remaining length of five bytes", raw(0xc0, 0x80, 0x80, 0x80, 0x80, 0x01)),
  each(
    "a remaining length that is not in its shortest form",
    raw(0xc0, 0x80, 0x00),
    { answered: "pingresp" },
    { disconnect: 0x81 },
  ),
  malformed("a packet that announces 256 MB", raw(0x30, 0xff, 0xff, 0xff, 0x7f), 0x95),
  malformed("a second CONNECT", (v) => packets.connect(v, { clientId: id }), 0x82),
  malformed("CONNACK, a server's packet", raw(0x20, 2, 0, 0), 0x82),
  malformed("SUBACK, a server's packet", raw(0x90, 3, 0, 1, 0), 0x82),
  malformed("UNSUBACK, a server's packet", raw(0xb0, 2, 0, 1), 0x82),
  malformed("PINGRESP, a server's packet", raw(0xd0, 0), 0x82),
  malformed("PINGREQ with a body", packet(0xc0, raw(0))),
  malformed("PINGREQ with flags", raw(0xc1, 0)),
  malformed("an empty PUBLISH", packet(0x30)),
  malformed("PUBLISH that ends in its topic", packet(0x30, u16(5), utf8("ab"))),
  malformed("PUBLISH with QoS 3", packet(0x36, topic, u16(1), raw(0))),
  malformed("PUBLISH with DUP at QoS 0", (v) => packets.publish(v, { topic: "t", dup: true }), 0x81),
  malformed(
    "PUBLISH with the packet id 0",
    (v) => packets.publish(v, { topic: "t", qos: 1, packetId: 0 }),
    0x82,
  ),
  malformed("PUBLISH that ends in its packet id", packet(0x32, topic, raw(0))),
  malformed("PUBLISH to #", (v) => packets.publish(v, { topic: "#" }), 0x90),
  malformed("PUBLISH to a topic with +", (v) => packets.publish(v, { topic: "a/+/b" }), 0x90),
  malformed("PUBLISH to the empty topic", (v) => packets.publish(v, { topic: "" }), 0x82),
  malformed("PUBLISH to a topic with U+0000", (v) => packets.publish(v, { topic: "a\0b" })),
  malformed("PUBLISH to a topic with a surrogate", (v) =>
    packets.publish(v, { topic: raw(0xed, 0xa0, 0x80) }),
  ),
  malformed("PUBLISH to a topic in overlong UTF-8", (v) => packets.publish(v, { topic: raw(0xc1, 0x81) })),
  malformed(
    "PUBLISH to a topic of 4,097 bytes",
    (v) => packets.publish(v, { topic: "x".repeat(4_097) }),
    0x90,
  ),
  malformed("PUBLISH to a topic of 65 levels", (v) => packets.publish(v, { topic: "/".repeat(64) }), 0x90),
  each(
    "PUBLISH to the broker's own topics",
    (v) => packets.publish(v, { topic: "$SYS/broker/version", qos: 1, packetId: 1 }),
    { answered: "puback" },
    { answered: "puback" },
  ),
  malformed("PUBACK with flags", raw(0x41, 2, 0, 1)),
  malformed("PUBACK cut short", packet(0x40, raw(1))),
  malformed("PUBACK with the packet id 0", packets.puback(0), 0x82),
  always("PUBACK for nothing", packets.puback(4_711), ignored),
  always("PUBCOMP for nothing", packets.pubcomp(4_711), ignored),
  always("PUBREC for nothing", packets.pubrec(4_711), { answered: "pubrel" }),
  always("PUBREL for nothing", packets.pubrel(4_711), { answered: "pubcomp" }),
  malformed("PUBREL without its flags", raw(0x60, 2, 0, 1)),
  malformed("SUBSCRIBE without its flags", (v) =>
    packet(0x80, u16(1), packets.propertiesOf(v), topic, raw(0)),
  ),
  malformed("SUBSCRIBE with the packet id 0", (v) => packets.subscribe(v, 0, [["t", 0]]), 0x82),
  malformed("SUBSCRIBE without a filter", (v) => packets.subscribe(v, 1, []), 0x82),
  malformed("SUBSCRIBE without options", (v) => packet(0x82, u16(1), packets.propertiesOf(v), topic)),
  malformed("SUBSCRIBE with QoS 3", (v) => packets.subscribe(v, 1, [["t", 3]]), 0x82),
  malformed("SUBSCRIBE with reserved bits", (v) => packets.subscribe(v, 1, [["t", 0xc0]])),
  malformed("SUBSCRIBE to a filter that is not UTF-8", (v) => packets.subscribe(v, 1, [[raw(0xff), 0]])),
  each(
    "SUBSCRIBE to sensors/#/temperature",
    (v) => packets.subscribe(v, 1, [["sensors/#/temperature", 0]]),
    "closed",
    { answered: "suback" },
  ),
  each("SUBSCRIBE to the empty filter", (v) => packets.subscribe(v, 1, [["", 0]]), "closed", {
    answered: "suback",
  }),
  each(
    "SUBSCRIBE to $share without a filter",
    (v) => packets.subscribe(v, 1, [["$share/group", 0]]),
    "closed",
    { answered: "suback" },
  ),
  always("SUBSCRIBE to the broker's own topics", (v) => packets.subscribe(v, 1, [["$SYS/#", 0]]), {
    answered: "suback",
  }),
  malformed(
    "SUBSCRIBE with 1,025 filters",
    (v) =>
      packets.subscribe(
        v,
        1,
        Array.from({ length: 1_025 }, (_, index) => [`${index}`, 0]),
      ),
    0x97,
  ),
  malformed("UNSUBSCRIBE without its flags", (v) => packet(0xa0, u16(1), packets.propertiesOf(v), topic)),
  malformed("UNSUBSCRIBE with the packet id 0", (v) => packets.unsubscribe(v, 0, ["t"]), 0x82),
  malformed("UNSUBSCRIBE without a filter", (v) => packets.unsubscribe(v, 1, []), 0x82),
  malformed("UNSUBSCRIBE that ends in its filter", (v) =>
    packet(0xa2, u16(1), packets.propertiesOf(v), u16(9), utf8("ab")),
  ),
  malformed("DISCONNECT with flags", raw(0xe1, 0)),
  { name: "DISCONNECT with a body", bytes: packet(0xe0, raw(0)), outcomes: { 4: "closed" } },
  { name: "AUTH, which MQTT 3.1.1 does not have", bytes: raw(0xf0, 0), outcomes: { 4: "closed" } },
  only5("AUTH without a method in CONNECT", packets.auth(0x18, [property.authenticationMethod("m")]), {
    disconnect: 0x82,
  }),
  only5("AUTH with flags", raw(0xf2, 0), { disconnect: 0x81 }),
  only5("DISCONNECT with a reason code that is none", packets.disconnect({ reasonCode: 0x03 }), {
    disconnect: 0x82,
  }),
  only5(
    "DISCONNECT with a session expiry where CONNECT had none",
    packets.disconnect({ reasonCode: 0, properties: [property.sessionExpiryInterval(9)] }),
    { disconnect: 0x82 },
  ),
  only5("PUBACK with a reason code that is none", packets.puback(1, { reasonCode: 0x42 }), {
    disconnect: 0x82,
  }),
  only5(
    "PUBACK with a property of PUBLISH",
    packets.puback(1, { reasonCode: 0, properties: [property.topicAlias(1)] }),
    { disconnect: 0x81 },
  ),
  only5("PUBLISH with the topic alias 0", publishWith(property.topicAlias(0)), { disconnect: 0x94 }),
  only5("PUBLISH with the topic alias 33, of 32", publishWith(property.topicAlias(33)), { disconnect: 0x94 }),
  only5(
    "PUBLISH with an alias that names nothing",
    packets.publish(5, { topic: "", properties: [property.topicAlias(1)] }),
    { disconnect: 0x82 },
  ),
  only5("PUBLISH with a subscription identifier", publishWith(property.subscriptionIdentifier(1)), {
    disconnect: 0x82,
  }),
  only5("PUBLISH with an unknown property", publishWith(raw(0x7f, 0)), { disconnect: 0x81 }),
  only5("PUBLISH with a content type that is not UTF-8", publishWith(property.contentType(raw(0xff))), {
    disconnect: 0x81,
  }),
  only5("PUBLISH with a response topic that has a wildcard", publishWith(property.responseTopic("a/#")), {
    disconnect: 0x82,
  }),
  only5(
    "PUBLISH with the message expiry twice",
    publishWith(property.messageExpiryInterval(1), property.messageExpiryInterval(1)),
    { disconnect: 0x82 },
  ),
  only5("PUBLISH with Payload Format Indicator 2", publishWith(property.payloadFormatIndicator(2)), {
    disconnect: 0x82,
  }),
  only5("PUBLISH with properties longer than the packet", packet(0x30, topic, raw(50)), { disconnect: 0x81 }),
  only5("PUBLISH with a property cut short", packet(0x30, topic, raw(2), raw(0x02, 0)), { disconnect: 0x81 }),
  only5(
    "PUBLISH with 65 user properties",
    publishWith(...Array.from({ length: 65 }, () => property.userProperty("a", "b"))),
    { disconnect: 0x97 },
  ),
  only5(
    "SUBSCRIBE with the subscription identifier 0",
    packets.subscribe(5, 1, [["t", 0]], [property.subscriptionIdentifier(0)]),
    { disconnect: 0x82 },
  ),
  only5(
    "SUBSCRIBE with two subscription identifiers",
    packets.subscribe(
      5,
      1,
      [["t", 0]],
      [property.subscriptionIdentifier(1), property.subscriptionIdentifier(2)],
    ),
    { disconnect: 0x82 },
  ),
  only5("SUBSCRIBE with Retain Handling 3", packets.subscribe(5, 1, [["t", 0x30]]), { disconnect: 0x82 }),
  only5("SUBSCRIBE with No Local on a shared subscription", packets.subscribe(5, 1, [["$share/g/t", 0x04]]), {
    disconnect: 0x82,
  }),
  only5(
    "UNSUBSCRIBE with a property of CONNECT",
    packets.unsubscribe(5, 1, ["t"], [concat(raw(0x27), u32(9))]),
    { disconnect: 0x81 },
  ),
];
