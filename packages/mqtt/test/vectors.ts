import { PacketType, type ProtocolVersion } from "../src/packets.ts";

/** A whole packet as the specification draws it, and its value: source, version, first byte, body (see `notation`), value. */
export type Vector = readonly [
  source: string,
  version: ProtocolVersion,
  first: number,
  body: string,
  value: unknown,
];

const { connect, connack, publish, puback, subscribe, suback, unsubscribe, disconnect } = PacketType;

function bytes(text: string): Uint8Array {
  return new Uint8Array(Buffer.from(text));
}

export const vectors: readonly Vector[] = [
  [
    "CONNECT with user name, password, will and clean start (MQTT 5.0 §3.1.2.12)",
    5,
    connect << 4,
    '"MQTT" 05 ce 000a 05 11 0000000a "id" 00 "w" "bye" "user" "secret"',
    {
      protocolVersion: 5,
      cleanStart: true,
      keepAliveSeconds: 10,
      clientId: "id",
      username: "user",
      password: bytes("secret"),
      will: { topic: "w", payload: bytes("bye"), qos: 1, retain: false, properties: {} },
      properties: { sessionExpiryInterval: 10 },
    },
  ],
  [
    "CONNECT of MQTT 3.1.1 with the same flags (MQTT 3.1.1 §3.1)",
    4,
    connect << 4,
    '"MQTT" 04 ce 000a "id" "w" "bye" "user" "secret"',
    {
      protocolVersion: 4,
      cleanStart: true,
      keepAliveSeconds: 10,
      clientId: "id",
      username: "user",
      password: bytes("secret"),
      will: { topic: "w", payload: bytes("bye"), qos: 1, retain: false, properties: {} },
      properties: {},
    },
  ],
  [
    "CONNECT of MQTT 3.1 with the same flags (MQTT 3.1 §3.1)",
    3,
    connect << 4,
    '"MQIsdp" 03 ce 000a "id" "w" "bye" "user" "secret"',
    {
      protocolVersion: 3,
      cleanStart: true,
      keepAliveSeconds: 10,
      clientId: "id",
      username: "user",
      password: bytes("secret"),
      will: { topic: "w", payload: bytes("bye"), qos: 1, retain: false, properties: {} },
      properties: {},
    },
  ],
  [
    "CONNACK that refuses credentials (MQTT 3.1.1 §3.2.2.3)",
    4,
    connack << 4,
    "00 04",
    { sessionPresent: false, reasonCode: 0x86, properties: {} },
  ],
  [
    "PUBLISH of topic a/b with packet identifier 10 and no properties (MQTT 5.0 §3.3.2)",
    5,
    (publish << 4) | 0b0010,
    '"a/b" 000a 00',
    {
      topic: "a/b",
      payload: bytes(""),
      qos: 1,
      retain: false,
      dup: false,
      packetId: 10,
      properties: {},
    },
  ],
  [
    "PUBACK with No matching subscribers (MQTT 5.0 §3.4.2)",
    5,
    puback << 4,
    "000a 10",
    { packetId: 10, reasonCode: 0x10, properties: {} },
  ],
  [
    "SUBSCRIBE to a/b with QoS 1 and c/d with QoS 2 (MQTT 5.0 §3.8.3.1)",
    5,
    (subscribe << 4) | 0b0010,
    '000a 00 "a/b" 01 "c/d" 02',
    {
      packetId: 10,
      requests: [
        { filter: "a/b", qos: 1, noLocal: false, retainAsPublished: false, retainHandling: 0 },
        { filter: "c/d", qos: 2, noLocal: false, retainAsPublished: false, retainHandling: 0 },
      ],
      properties: {},
    },
  ],
  [
    "SUBSCRIBE with every option (MQTT 5.0 §3.8.3.1)",
    5,
    (subscribe << 4) | 0b0010,
    '000a 02 0b 01 "a" 2e',
    {
      packetId: 10,
      requests: [{ filter: "a", qos: 2, noLocal: true, retainAsPublished: true, retainHandling: 2 }],
      properties: { subscriptionIdentifiers: [1] },
    },
  ],
  [
    "SUBACK of 0, 2 and a failure (MQTT 3.1.1 §3.9.3)",
    4,
    suback << 4,
    "000a 00 02 80",
    { packetId: 10, reasonCodes: [0, 2, 0x80], properties: {} },
  ],
  [
    "UNSUBSCRIBE from a/b and c/d (MQTT 3.1.1 §3.10.3)",
    4,
    (unsubscribe << 4) | 0b0010,
    '000a "a/b" "c/d"',
    { packetId: 10, filters: ["a/b", "c/d"], properties: {} },
  ],
  [
    "DISCONNECT with a will and another session expiry (MQTT 5.0 §3.14.2)",
    5,
    disconnect << 4,
    "04 05 11 00000078",
    { reasonCode: 4, properties: { sessionExpiryInterval: 120 } },
  ],
];
