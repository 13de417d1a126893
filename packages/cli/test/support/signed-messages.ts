import {
  noProperties,
  type Properties,
  type ProtocolVersion,
  type QoS,
  type Will,
} from "@postern/mqtt/packets";
import { publishPacket } from "@postern/broker/testing/packets";
import type { Random } from "@postern/broker/testing/random";

/** One message of which every byte says whose it is. */
export interface Signed {
  readonly who: string;
  readonly number: number;
  readonly bytes: number;
}

/** What a client was sent. */
export interface Seen {
  readonly topic: string;
  readonly payload: Buffer;
  readonly properties: Readonly<Properties>;
}

/** From this length on a payload names its message by itself. */
const selfEvidentBytes = 48;

function signatureOf({ who, number, bytes }: Signed): string {
  return `${who}.${number}.${bytes}|`;
}

export function payloadOf(message: Signed): Buffer {
  return Buffer.alloc(message.bytes, signatureOf(message));
}

/** A topic that names the message; others name its sender only. */
export function topicOf({ who, number, bytes }: Signed): string {
  return `w/${who}/${number}/${bytes}`;
}

/** Properties that name it, too. */
function propertiesOf(message: Signed): Properties {
  return {
    contentType: `of ${signatureOf(message)}`,
    responseTopic: topicOf(message),
    correlationData: Buffer.alloc(1 + (message.number % 3) * 40, signatureOf(message)),
    userProperties: [["of", signatureOf(message)]],
  };
}

/** What is wrong with a message that somebody was sent: it is not in all its parts the one that was published. */
export function faultOf({ topic, payload, properties }: Seen): string | undefined {
  const [root, who = "", number = "", bytes = ""] = topic.split("/");
  if (root !== "w") return "a topic that nobody published to";
  const itself = /^([a-z0-9-]+)\.(\d+)\.(\d+)\|/.exec(payload.toString("latin1", 0, selfEvidentBytes));
  if (number === "kept" && itself === null) return `is not signed: ${payload.toString("hex", 0, 32)}`;
  const message: Signed =
    itself === null
      ? { who, number: Number(number), bytes: Number(bytes) }
      : { who: itself[1] ?? "", number: Number(itself[2]), bytes: Number(itself[3]) };
  if (message.who !== who) return `is of ${message.who}`;
  if (number !== "kept" && topic !== topicOf(message)) return `is ${topicOf(message)}`;
  const expected = payloadOf(message);
  if (!payload.equals(expected))
    return `${payload.length} bytes differ from ${firstOther(payload, expected)} on`;
  if (Object.keys(properties).length === 0) return undefined;
  return faultOfProperties(message, properties);
}

function faultOfProperties(message: Signed, properties: Readonly<Properties>): string | undefined {
  const expected = propertiesOf(message);
  const { contentType, responseTopic, userProperties, correlationData } = properties;
  // Those the server sets itself, such as an alias or an expiry, come without the others.
  if (contentType === undefined && responseTopic === undefined && userProperties === undefined)
    return undefined;
  if (contentType !== expected.contentType) return `has content type ${contentType ?? "none"}`;
  if (responseTopic !== expected.responseTopic) return `has response topic ${responseTopic ?? "none"}`;
  const [[name, value] = []] = userProperties ?? [];
  if (name !== "of" || value !== signatureOf(message))
    return `has user property ${name ?? ""}=${value ?? ""}`;
  const correlated = Buffer.from(correlationData ?? []);
  return correlated.equals(Buffer.from(expected.correlationData ?? []))
    ? undefined
    : `has correlation data ${correlated.toString("latin1")}`;
}

function firstOther(bytes: Buffer, expected: Buffer): number {
  let at = 0;
  while (at < bytes.length && bytes[at] === expected[at]) at += 1;
  return at;
}

/** Sizes on both sides of those at which the server does otherwise. */
const sizes = [
  0, 1, 7, 40, 60, 200, 1_000, 4_000, 8_120, 8_192, 8_300, 16_384, 40_900, 65_400, 65_536, 90_000, 300_000,
];

export function sizeBy(random: Random): number {
  // Most are small, as they are in the field.
  return random.chance(0.5) ? random.between(1, 400) : random.pick(sizes);
}

/** What a sender publishes: by a topic of its own, or as one of the few that it leaves with the server. */
export function packetBy(
  random: Random,
  message: Signed,
  {
    version,
    qos,
    packetId,
  }: { readonly version: ProtocolVersion; readonly qos: QoS; readonly packetId: number },
): Buffer {
  const isKept = random.chance(0.1);
  const bytes = isKept ? Math.max(message.bytes, selfEvidentBytes) : message.bytes;
  const signed = { ...message, bytes };
  const kept = `w/${message.who}/kept/${random.below(3)}`;
  return publishPacket(version, {
    topic: isKept ? kept : topicOf(signed),
    payload: payloadOf(signed),
    qos,
    packetId,
    retain: isKept,
    properties: version === 5 && random.chance(0.5) ? propertiesOf(signed) : noProperties,
  });
}

export function willOf(message: Signed, version: ProtocolVersion): Will {
  return {
    topic: topicOf(message),
    payload: payloadOf(message),
    qos: 1,
    retain: false,
    properties: version === 5 ? propertiesOf(message) : noProperties,
  };
}
