import { encodeAck } from "@postern/mqtt/acks";
import { encodeConnect } from "@postern/mqtt/connect";
import { encodeAuth, encodeDisconnect, pingreqBytes } from "@postern/mqtt/control";
import { noProperties, PacketType, type Properties, type ProtocolVersion } from "@postern/mqtt/packets";
import { encodeSubscribe, encodeUnsubscribe } from "@postern/mqtt/subscribe";

import { durableConnect } from "../../src/testing/hand-client.ts";
import { ackPacket, publishPacket, request } from "../../src/testing/packets.ts";

const { connect, publish, puback, pubrec, pubrel, pubcomp } = PacketType;
const { subscribe, unsubscribe, pingreq, disconnect, auth } = PacketType;

export interface Sample {
  readonly name: string;
  readonly type: PacketType;
  readonly bytes: Buffer;
}

const userProperties = [
  ["place", "cellar"],
  ["place", "küche"],
] as const;

const publishProperties: Properties = {
  payloadFormatIndicator: 1,
  messageExpiryInterval: 77,
  contentType: "text/plain",
  responseTopic: "answers/here",
  correlationData: Buffer.of(1, 2, 3),
  topicAlias: 3,
  userProperties,
};

/** A CONNECT with everything that the version knows: its session is kept, its will retained. */
function fullConnect(version: ProtocolVersion): Sample {
  const properties: Properties = {
    sessionExpiryInterval: 600,
    receiveMaximum: 10,
    maximumPacketSize: 10_000,
    topicAliasMaximum: 5,
    requestResponseInformation: 1,
    requestProblemInformation: 0,
    userProperties,
  };
  const willProperties: Properties = { ...publishProperties, willDelayInterval: 0 };
  delete willProperties.topicAlias;
  const bytes = encodeConnect(
    durableConnect("cut-connect", version, {
      username: "name",
      password: Buffer.from("secret"),
      properties: version === 5 ? properties : noProperties,
      will: {
        topic: "gone/device",
        payload: Buffer.from("gone"),
        qos: 1,
        retain: true,
        properties: version === 5 ? willProperties : noProperties,
      },
    }),
  );
  return { name: "CONNECT", type: connect, bytes };
}

function ofMqtt5(): Sample[] {
  const properties = { reasonString: "because", userProperties };
  const acks = [
    ["PUBACK", puback, 0x80],
    ["PUBREC", pubrec, 0x80],
    ["PUBREL", pubrel, 0x92],
    ["PUBCOMP", pubcomp, 0x92],
  ] as const;
  return [
    {
      name: "PUBLISH with properties",
      type: publish,
      bytes: publishPacket(5, {
        topic: "a/b",
        payload: "text",
        qos: 2,
        packetId: 5,
        properties: publishProperties,
      }),
    },
    {
      name: "SUBSCRIBE with an identifier",
      type: subscribe,
      bytes: encodeSubscribe(5, {
        packetId: 6,
        requests: [request("a/+", 1, { noLocal: true, retainHandling: 2 }), request("$share/g/b/#", 2)],
        properties: { subscriptionIdentifiers: [268_435_455], userProperties },
      }),
    },
    {
      name: "UNSUBSCRIBE with properties",
      type: unsubscribe,
      bytes: encodeUnsubscribe(5, { packetId: 7, filters: ["a/+", "b"], properties: { userProperties } }),
    },
    ...acks.map(([name, type, reasonCode]) => ({
      name: `${name} with a reason`,
      type,
      bytes: encodeAck(5, type, { packetId: 300, reasonCode, properties }),
    })),
    {
      name: "DISCONNECT with a reason",
      type: disconnect,
      bytes: encodeDisconnect(5, {
        reasonCode: 0x04,
        properties: { sessionExpiryInterval: 0, ...properties },
      }),
    },
    {
      name: "AUTH",
      type: auth,
      bytes: encodeAuth(5, {
        reasonCode: 0x18,
        properties: { authenticationMethod: "PLAIN", authenticationData: Buffer.of(1), ...properties },
      }),
    },
  ];
}

/** Each packet that a client of this version may send, in its plain and in its richest form. */
export function samplePackets(version: ProtocolVersion): Sample[] {
  const plain: Sample[] = [
    fullConnect(version),
    {
      name: "PUBLISH with QoS 0",
      type: publish,
      bytes: publishPacket(version, { topic: "a/b", payload: "text" }),
    },
    {
      name: "PUBLISH with QoS 1, retained",
      type: publish,
      bytes: publishPacket(version, { topic: "a/b", payload: "text", qos: 1, packetId: 5, retain: true }),
    },
    {
      name: "PUBLISH with QoS 2, without payload",
      type: publish,
      bytes: publishPacket(version, { topic: "a/b", payload: "", qos: 2, packetId: 5 }),
    },
    {
      name: "SUBSCRIBE",
      type: subscribe,
      bytes: encodeSubscribe(version, {
        packetId: 6,
        requests: [request("a/b", 1), request("käse/#", 2)],
        properties: noProperties,
      }),
    },
    {
      name: "UNSUBSCRIBE",
      type: unsubscribe,
      bytes: encodeUnsubscribe(version, { packetId: 7, filters: ["a/b", "c/+"], properties: noProperties }),
    },
    { name: "PUBACK", type: puback, bytes: ackPacket(puback, 300) },
    { name: "PUBREC", type: pubrec, bytes: ackPacket(pubrec, 300) },
    { name: "PUBREL", type: pubrel, bytes: ackPacket(pubrel, 300) },
    { name: "PUBCOMP", type: pubcomp, bytes: ackPacket(pubcomp, 300) },
    { name: "PINGREQ", type: pingreq, bytes: pingreqBytes },
    {
      name: "DISCONNECT",
      type: disconnect,
      bytes: encodeDisconnect(version, { reasonCode: 0, properties: noProperties }),
    },
  ];
  return version === 5 ? [...plain, ...ofMqtt5()] : plain;
}
