import assert from "node:assert/strict";

import { Reader, describeBytes } from "./reader.ts";
import type { QoS, Version } from "./packets.ts";

/** The MQTT 5 properties a server may send; only what was present is set. */
export interface ReceivedProperties {
  payloadFormatIndicator?: number;
  messageExpiryInterval?: number;
  contentType?: string;
  responseTopic?: string;
  correlationData?: Uint8Array;
  subscriptionIdentifiers?: number[];
  sessionExpiryInterval?: number;
  assignedClientIdentifier?: string;
  serverKeepAlive?: number;
  authenticationMethod?: string;
  authenticationData?: Uint8Array;
  responseInformation?: string;
  serverReference?: string;
  reasonString?: string;
  receiveMaximum?: number;
  topicAliasMaximum?: number;
  topicAlias?: number;
  maximumQoS?: number;
  retainAvailable?: number;
  userProperties?: [name: string, value: string][];
  maximumPacketSize?: number;
  wildcardSubscriptionAvailable?: number;
  subscriptionIdentifierAvailable?: number;
  sharedSubscriptionAvailable?: number;
}

export interface Connack {
  readonly kind: "connack";
  readonly sessionPresent: boolean;
  readonly reasonCode: number;
  readonly properties: ReceivedProperties;
}

export interface Publish {
  readonly kind: "publish";
  readonly topic: string;
  readonly payload: string;
  readonly qos: QoS;
  readonly retain: boolean;
  readonly dup: boolean;
  /** 0 at QoS 0. */
  readonly packetId: number;
  readonly properties: ReceivedProperties;
}

export interface Acknowledgement {
  readonly kind: "puback" | "pubrec" | "pubrel" | "pubcomp";
  readonly packetId: number;
  readonly reasonCode: number;
  readonly properties: ReceivedProperties;
}

export interface Suback {
  readonly kind: "suback" | "unsuback";
  readonly packetId: number;
  /** Empty in an UNSUBACK before MQTT 5. */
  readonly reasonCodes: readonly number[];
  readonly properties: ReceivedProperties;
}

export interface ReasonPacket {
  readonly kind: "disconnect" | "auth";
  readonly reasonCode: number;
  readonly properties: ReceivedProperties;
}

export interface Pingresp {
  readonly kind: "pingresp";
}

export type Received = Connack | Publish | Acknowledgement | Suback | ReasonPacket | Pingresp;
export type ReceivedKind = Received["kind"];

/** What a server may send: the packet type's name, its four flag bits, its properties and its reason codes. */
interface PacketRule {
  readonly kind: ReceivedKind;
  /** `undefined` for PUBLISH, whose flags mean something. */
  readonly flags: number | undefined;
  readonly properties: readonly number[];
  readonly reasonCodes: readonly number[];
}

const reasonAndUser = [0x1f, 0x26];
const publishReasons = [0x00, 0x10, 0x80, 0x83, 0x87, 0x90, 0x91, 0x97, 0x99];

/** @see MQTT 5.0 §2.1.2, §2.2.2.2, §2.4 */
const rules: ReadonlyMap<number, PacketRule> = new Map<number, PacketRule>([
  [
    2,
    {
      kind: "connack",
      flags: 0,
      properties: [
        0x11, 0x12, 0x13, 0x15, 0x16, 0x1a, 0x1c, 0x1f, 0x21, 0x22, 0x24, 0x25, 0x26, 0x27, 0x28, 0x29, 0x2a,
      ],
      reasonCodes: [
        0x00, 0x80, 0x81, 0x82, 0x83, 0x84, 0x85, 0x86, 0x87, 0x88, 0x89, 0x8a, 0x8c, 0x90, 0x95, 0x97, 0x99,
        0x9a, 0x9b, 0x9c, 0x9d, 0x9f,
      ],
    },
  ],
  [
    3,
    {
      kind: "publish",
      flags: undefined,
      properties: [0x01, 0x02, 0x03, 0x08, 0x09, 0x0b, 0x23, 0x26],
      reasonCodes: [],
    },
  ],
  [4, { kind: "puback", flags: 0, properties: reasonAndUser, reasonCodes: publishReasons }],
  [5, { kind: "pubrec", flags: 0, properties: reasonAndUser, reasonCodes: publishReasons }],
  [6, { kind: "pubrel", flags: 2, properties: reasonAndUser, reasonCodes: [0x00, 0x92] }],
  [7, { kind: "pubcomp", flags: 0, properties: reasonAndUser, reasonCodes: [0x00, 0x92] }],
  [
    9,
    {
      kind: "suback",
      flags: 0,
      properties: reasonAndUser,
      reasonCodes: [0x00, 0x01, 0x02, 0x80, 0x83, 0x87, 0x8f, 0x91, 0x97, 0x9e, 0xa1, 0xa2],
    },
  ],
  [
    11,
    {
      kind: "unsuback",
      flags: 0,
      properties: reasonAndUser,
      reasonCodes: [0x00, 0x11, 0x80, 0x83, 0x87, 0x8f, 0x91],
    },
  ],
  [13, { kind: "pingresp", flags: 0, properties: [], reasonCodes: [] }],
  [
    14,
    {
      kind: "disconnect",
      flags: 0,
      properties: [0x1c, ...reasonAndUser],
      reasonCodes: [
        0x00, 0x80, 0x81, 0x82, 0x83, 0x87, 0x89, 0x8b, 0x8d, 0x8e, 0x8f, 0x90, 0x93, 0x94, 0x95, 0x96, 0x97,
        0x98, 0x99, 0x9a, 0x9b, 0x9c, 0x9d, 0x9e, 0x9f, 0xa0, 0xa1, 0xa2,
      ],
    },
  ],
  [
    15,
    { kind: "auth", flags: 0, properties: [0x15, 0x16, ...reasonAndUser], reasonCodes: [0x00, 0x18, 0x19] },
  ],
]);

function readProperty(identifier: number, reader: Reader, into: ReceivedProperties): void {
  switch (identifier) {
    case 0x01:
      into.payloadFormatIndicator = reader.u8();
      return;
    case 0x02:
      into.messageExpiryInterval = reader.u32();
      return;
    case 0x03:
      into.contentType = reader.text();
      return;
    case 0x08:
      into.responseTopic = reader.text();
      return;
    case 0x09:
      into.correlationData = reader.binary();
      return;
    case 0x0b:
      into.subscriptionIdentifiers = [...(into.subscriptionIdentifiers ?? []), reader.variableByteInteger()];
      return;
    case 0x11:
      into.sessionExpiryInterval = reader.u32();
      return;
    case 0x12:
      into.assignedClientIdentifier = reader.text();
      return;
    case 0x13:
      into.serverKeepAlive = reader.u16();
      return;
    case 0x15:
      into.authenticationMethod = reader.text();
      return;
    case 0x16:
      into.authenticationData = reader.binary();
      return;
    case 0x1a:
      into.responseInformation = reader.text();
      return;
    case 0x1c:
      into.serverReference = reader.text();
      return;
    case 0x1f:
      into.reasonString = reader.text();
      return;
    case 0x21:
      into.receiveMaximum = reader.u16();
      assert.notEqual(into.receiveMaximum, 0, "the broker sent a Receive Maximum of 0");
      return;
    case 0x22:
      into.topicAliasMaximum = reader.u16();
      return;
    case 0x23:
      into.topicAlias = reader.u16();
      assert.notEqual(into.topicAlias, 0, "[MQTT-3.3.2-8] the broker sent the topic alias 0");
      return;
    case 0x24:
      into.maximumQoS = reader.u8();
      return;
    case 0x25:
      into.retainAvailable = reader.u8();
      return;
    case 0x26:
      into.userProperties = [...(into.userProperties ?? []), [reader.text(), reader.text()]];
      return;
    case 0x27:
      into.maximumPacketSize = reader.u32();
      return;
    case 0x28:
      into.wildcardSubscriptionAvailable = reader.u8();
      return;
    case 0x29:
      into.subscriptionIdentifierAvailable = reader.u8();
      return;
    case 0x2a:
      into.sharedSubscriptionAvailable = reader.u8();
      return;
    default:
      assert.fail(`the broker sent the unknown property 0x${identifier.toString(16)}`);
  }
}

/** Properties as the packet type allows them, each once except those that may be repeated. */
function readProperties(version: Version, rule: PacketRule, reader: Reader): ReceivedProperties {
  const properties: ReceivedProperties = {};
  if (version !== 5) return properties;
  const section = new Reader(reader.take(reader.variableByteInteger()));
  const seen = new Set<number>();
  while (!section.atEnd) {
    const identifier = section.variableByteInteger();
    const shown = `property 0x${identifier.toString(16)} in ${rule.kind}`;
    assert.ok(rule.properties.includes(identifier), `the broker sent ${shown}, where it is not allowed`);
    assert.ok(!seen.has(identifier) || [0x0b, 0x26].includes(identifier), `the broker sent ${shown} twice`);
    seen.add(identifier);
    readProperty(identifier, section, properties);
  }
  return properties;
}

function readPublish(flags: number, version: Version, rule: PacketRule, reader: Reader): Publish {
  const qos = (flags >>> 1) & 3;
  assert.ok(qos === 0 || qos === 1 || qos === 2, "[MQTT-3.3.1-4] the broker sent a PUBLISH with QoS 3");
  const dup = (flags & 8) !== 0;
  assert.ok(qos > 0 || !dup, "[MQTT-3.3.1-2] the broker set DUP at QoS 0");
  const topic = reader.text();
  assert.doesNotMatch(topic, /[+#]/, "the broker sent a topic name with a wildcard");
  const packetId = qos === 0 ? 0 : reader.u16();
  assert.ok(qos === 0 || packetId !== 0, "the broker sent a PUBLISH with the packet id 0");
  const properties = readProperties(version, rule, reader);
  const payload = Buffer.from(reader.rest()).toString("utf8");
  return { kind: "publish", topic, payload, qos, retain: (flags & 1) !== 0, dup, packetId, properties };
}

function readBody(flags: number, version: Version, rule: PacketRule, reader: Reader): Received {
  switch (rule.kind) {
    case "publish":
      return readPublish(flags, version, rule, reader);
    case "connack": {
      const acknowledgeFlags = reader.u8();
      assert.ok(acknowledgeFlags <= 1, "[MQTT-3.2.2-1] the broker set a reserved bit in CONNACK");
      const reasonCode = reader.u8();
      const sessionPresent = acknowledgeFlags === 1;
      return {
        kind: rule.kind,
        sessionPresent,
        reasonCode,
        properties: readProperties(version, rule, reader),
      };
    }
    case "puback":
    case "pubrec":
    case "pubrel":
    case "pubcomp": {
      const packetId = reader.u16();
      const reasonCode = version === 5 && !reader.atEnd ? reader.u8() : 0;
      const properties = reader.atEnd ? {} : readProperties(version, rule, reader);
      return { kind: rule.kind, packetId, reasonCode, properties };
    }
    case "suback":
    case "unsuback": {
      const packetId = reader.u16();
      const properties = readProperties(version, rule, reader);
      return { kind: rule.kind, packetId, reasonCodes: [...reader.rest()], properties };
    }
    case "pingresp":
      return { kind: rule.kind };
    case "disconnect":
    case "auth": {
      assert.equal(version, 5, `the broker sent ${rule.kind} to a client that knows no such packet`);
      const reasonCode = reader.atEnd ? 0 : reader.u8();
      return {
        kind: rule.kind,
        reasonCode,
        properties: reader.atEnd ? {} : readProperties(version, rule, reader),
      };
    }
    default:
      return rule.kind satisfies never;
  }
}

/** @see MQTT 3.1.1 §3.2.2.3, §3.9.3 */
function checkReasonCodes(version: Version, rule: PacketRule, received: Received): void {
  const codes =
    "reasonCodes" in received ? received.reasonCodes : "reasonCode" in received ? [received.reasonCode] : [];
  const allowed =
    version === 5
      ? rule.reasonCodes
      : rule.kind === "connack"
        ? [0, 1, 2, 3, 4, 5]
        : rule.kind === "suback"
          ? [0, 1, 2, 0x80]
          : [0];
  for (const code of codes) {
    assert.ok(allowed.includes(code), `the broker sent ${rule.kind} with the reason code ${code}`);
  }
}

/** Reads a packet the broker sent and insists that it is one a server may send, in form and content. */
export function read(version: Version, firstByte: number, body: Uint8Array): Received {
  const rule = rules.get(firstByte >>> 4);
  assert.ok(rule !== undefined, `the broker sent a packet of type ${firstByte >>> 4}`);
  const flags = firstByte & 0x0f;
  assert.ok(
    rule.flags === undefined || rule.flags === flags,
    `the broker sent ${rule.kind} with the flags ${flags}`,
  );
  const reader = new Reader(body);
  const received = readBody(flags, version, rule, reader);
  assert.ok(reader.atEnd, `the broker sent ${rule.kind} with bytes left over: ${describeBytes(body)}`);
  checkReasonCodes(version, rule, received);
  return received;
}
