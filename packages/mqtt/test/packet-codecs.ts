import * as fc from "fast-check";

import { type AckType, decodeAck, encodeAck } from "../src/acks.ts";
import { decodeConnack, encodeConnack } from "../src/connack.ts";
import { decodeConnect, encodeConnect } from "../src/connect.ts";
import {
  checkPing,
  decodeAuth,
  decodeDisconnect,
  encodeAuth,
  encodeDisconnect,
  pingreqBytes,
  pingrespBytes,
} from "../src/control.ts";
import type { Frame } from "../src/frame.ts";
import type { Decoded } from "../src/malformed.ts";
import {
  type ConnackPacket,
  type ConnectPacket,
  PacketType,
  type Properties,
  type ProtocolVersion,
  type QoS,
  type ReasonPacket,
  type SubscribePacket,
  type SubscribeRequest,
} from "../src/packets.ts";
import { encodePropertyList } from "../src/properties.ts";
import {
  createPublishView,
  decodePublish,
  decodeTopicName,
  encodePublish,
  topicNameProblem,
} from "../src/publish.ts";
import { reasonCodeOfReturnCode } from "../src/reason-codes.ts";
import {
  decodeSuback,
  decodeSubscribe,
  decodeUnsuback,
  decodeUnsubscribe,
  encodeSuback,
  encodeSubscribe,
  encodeUnsuback,
  encodeUnsubscribe,
} from "../src/subscribe.ts";
import {
  binary,
  codesOf,
  payload,
  positiveTwoBytes,
  propertiesArbitrary,
  qosLevel,
  record,
  text,
  topicFilter,
  topicName,
  twoBytes,
} from "./field-arbitraries.ts";

/** A PUBLISH as one value, for tests; the product works on a `PublishView`. */
export interface PublishPacket {
  readonly topic: string;
  readonly payload: Uint8Array;
  readonly qos: QoS;
  readonly retain: boolean;
  readonly dup: boolean;
  readonly packetId: number;
  readonly properties: Readonly<Properties>;
}

/** Both directions of one packet type, and any valid value of it. */
export interface PacketCodec<T> {
  readonly type: PacketType;
  readonly versions: readonly ProtocolVersion[];
  readonly arbitrary: (version: ProtocolVersion) => fc.Arbitrary<T>;
  readonly encode: (version: ProtocolVersion, value: T) => Buffer;
  readonly decode: (bytes: Buffer, frame: Frame, version: ProtocolVersion) => Decoded<T>;
}

/** A codec whose value type is hidden, so that all can stand in one table. */
export interface AnyPacketCodec {
  readonly type: PacketType;
  readonly versions: readonly ProtocolVersion[];
  /** Any valid packet with its encoding. */
  readonly arbitrary: (version: ProtocolVersion) => fc.Arbitrary<EncodedPacket>;
  readonly decode: (bytes: Buffer, frame: Frame, version: ProtocolVersion) => Decoded<unknown>;
  /** Decodes and encodes again; `undefined` when the bytes do not decode. */
  readonly recode: (bytes: Buffer, frame: Frame, version: ProtocolVersion) => Buffer | undefined;
}

/** A valid packet as a value and as bytes. */
export interface EncodedPacket {
  readonly type: PacketType;
  readonly version: ProtocolVersion;
  readonly value: unknown;
  readonly bytes: Buffer;
}

function hideType<T>(codec: PacketCodec<T>): AnyPacketCodec {
  return {
    type: codec.type,
    versions: codec.versions,
    arbitrary: (version) =>
      codec.arbitrary(version).map((value) => ({
        type: codec.type,
        version,
        value,
        bytes: codec.encode(version, value),
      })),
    decode: codec.decode,
    recode: (bytes, frame, version) => {
      const decoded = codec.decode(bytes, frame, version);
      return decoded.kind === "value" ? codec.encode(version, decoded.value) : undefined;
    },
  };
}

const every: readonly ProtocolVersion[] = [3, 4, 5];

function lawfulConnect(any: ConnectPacket): ConnectPacket {
  if (any.protocolVersion === 5) return any;
  return {
    ...any,
    cleanStart: any.cleanStart || any.clientId === "",
    password: any.username === undefined ? undefined : any.password,
  };
}

const connect = hideType<ConnectPacket>({
  type: PacketType.connect,
  versions: every,
  arbitrary: (version) =>
    record({
      protocolVersion: fc.constant(version),
      cleanStart: fc.boolean(),
      keepAliveSeconds: twoBytes,
      clientId: text,
      username: fc.option(text, { nil: undefined }),
      password: fc.option(binary, { nil: undefined }),
      will: fc.option(
        record({
          topic: topicName,
          payload,
          qos: qosLevel,
          retain: fc.boolean(),
          properties: propertiesArbitrary("will", version),
        }),
        { nil: undefined },
      ),
      properties: propertiesArbitrary(PacketType.connect, version),
    }).map(lawfulConnect),
  encode: (_, value) => encodeConnect(value),
  decode: (bytes, frame) => decodeConnect(bytes, frame.bodyStart, frame.bodyEnd),
});

function lawfulConnack(version: ProtocolVersion, any: ConnackPacket): ConnackPacket {
  return { ...any, sessionPresent: any.sessionPresent && any.reasonCode === 0 && version !== 3 };
}

const connack = hideType<ConnackPacket>({
  type: PacketType.connack,
  versions: every,
  arbitrary: (version) =>
    record({
      sessionPresent: fc.boolean(),
      reasonCode:
        version === 5
          ? codesOf(PacketType.connack)
          : fc.integer({ min: 0, max: 5 }).map((code) => reasonCodeOfReturnCode(code) ?? 0),
      properties: propertiesArbitrary(PacketType.connack, version),
    }).map((any) => lawfulConnack(version, any)),
  encode: encodeConnack,
  decode: (bytes, frame, version) => decodeConnack(bytes, frame.bodyStart, frame.bodyEnd, version),
});

function decodePublishPacket(bytes: Buffer, frame: Frame, version: ProtocolVersion): Decoded<PublishPacket> {
  const view = createPublishView();
  const wrong = decodePublish(bytes, frame, version, view);
  if (wrong !== undefined) return wrong;
  const { topicStart, topicEnd, payloadStart, payloadEnd, ...fields } = view;
  const topic = topicStart === topicEnd ? "" : decodeTopicName(bytes, topicStart, topicEnd);
  if (topic === undefined) return topicNameProblem(bytes, topicStart, topicEnd);
  return {
    kind: "value",
    value: { ...fields, topic, payload: new Uint8Array(bytes.subarray(payloadStart, payloadEnd)) },
  };
}

function lawfulPublish(any: PublishPacket): PublishPacket {
  return {
    ...any,
    topic: any.topic === "" && any.properties.topicAlias === undefined ? "a" : any.topic,
    dup: any.dup && any.qos > 0,
    packetId: any.qos > 0 ? any.packetId : 0,
  };
}

const publish = hideType<PublishPacket>({
  type: PacketType.publish,
  versions: every,
  arbitrary: (version) =>
    record({
      topic: fc.oneof({ arbitrary: topicName, weight: 9 }, { arbitrary: fc.constant(""), weight: 1 }),
      payload,
      qos: qosLevel,
      retain: fc.boolean(),
      dup: fc.boolean(),
      packetId: positiveTwoBytes,
      properties: propertiesArbitrary(PacketType.publish, version),
    }).map(lawfulPublish),
  encode: (version, value) =>
    encodePublish({
      ...value,
      version,
      topic: Buffer.from(value.topic),
      properties: encodePropertyList(value.properties, PacketType.publish),
    }).bytes,
  decode: decodePublishPacket,
});

function ackCodec(type: AckType): AnyPacketCodec {
  return hideType({
    type,
    versions: every,
    arbitrary: (version) =>
      record({
        packetId: positiveTwoBytes,
        reasonCode: version === 5 ? codesOf(type) : fc.constant(0),
        properties: propertiesArbitrary(type, version),
      }),
    encode: (version, value) => encodeAck(version, type, value),
    decode: (bytes, frame, version) => decodeAck(bytes, frame.bodyStart, frame.bodyEnd, type, version),
  });
}

function lawfulRequest(version: ProtocolVersion, any: SubscribeRequest): SubscribeRequest {
  if (version === 5) return { ...any, noLocal: any.noLocal && !any.filter.startsWith("$share/") };
  return { ...any, noLocal: false, retainAsPublished: false, retainHandling: 0 };
}

const subscribe = hideType<SubscribePacket>({
  type: PacketType.subscribe,
  versions: every,
  arbitrary: (version) => {
    const request = record({
      filter: topicFilter,
      qos: qosLevel,
      noLocal: fc.boolean(),
      retainAsPublished: fc.boolean(),
      retainHandling: fc.constantFrom<0 | 1 | 2>(0, 1, 2),
    }).map((any) => lawfulRequest(version, any));
    return record({
      packetId: positiveTwoBytes,
      requests: fc.array(request, { minLength: 1, maxLength: 4 }),
      properties: propertiesArbitrary(PacketType.subscribe, version),
    });
  },
  encode: encodeSubscribe,
  decode: (bytes, frame, version) => decodeSubscribe(bytes, frame.bodyStart, frame.bodyEnd, version),
});

const suback = hideType({
  type: PacketType.suback,
  versions: every,
  arbitrary: (version) =>
    record({
      packetId: positiveTwoBytes,
      reasonCodes: fc.array(version === 5 ? codesOf(PacketType.suback) : fc.constantFrom(0, 1, 2, 0x80), {
        minLength: 1,
        maxLength: 5,
      }),
      properties: propertiesArbitrary(PacketType.suback, version),
    }),
  encode: encodeSuback,
  decode: (bytes, frame, version) => decodeSuback(bytes, frame.bodyStart, frame.bodyEnd, version),
});

const unsubscribe = hideType({
  type: PacketType.unsubscribe,
  versions: every,
  arbitrary: (version) =>
    record({
      packetId: positiveTwoBytes,
      filters: fc.array(topicFilter, { minLength: 1, maxLength: 4 }),
      properties: propertiesArbitrary(PacketType.unsubscribe, version),
    }),
  encode: encodeUnsubscribe,
  decode: (bytes, frame, version) => decodeUnsubscribe(bytes, frame.bodyStart, frame.bodyEnd, version),
});

const unsuback = hideType({
  type: PacketType.unsuback,
  versions: every,
  arbitrary: (version) =>
    record({
      packetId: positiveTwoBytes,
      reasonCodes:
        version === 5
          ? fc.array(codesOf(PacketType.unsuback), { minLength: 1, maxLength: 5 })
          : fc.constant<number[]>([]),
      properties: propertiesArbitrary(PacketType.unsuback, version),
    }),
  encode: encodeUnsuback,
  decode: (bytes, frame, version) => decodeUnsuback(bytes, frame.bodyStart, frame.bodyEnd, version),
});

function pingCodec(type: PacketType, bytes: Buffer): AnyPacketCodec {
  return hideType<null>({
    type,
    versions: every,
    arbitrary: () => fc.constant(null),
    encode: () => bytes,
    decode: (_, frame) => checkPing(frame.bodyStart, frame.bodyEnd) ?? { kind: "value", value: null },
  });
}

const disconnect = hideType({
  type: PacketType.disconnect,
  versions: every,
  arbitrary: (version) =>
    record({
      reasonCode: version === 5 ? codesOf(PacketType.disconnect) : fc.constant(0),
      properties: propertiesArbitrary(PacketType.disconnect, version),
    }),
  encode: encodeDisconnect,
  decode: (bytes, frame, version) => decodeDisconnect(bytes, frame.bodyStart, frame.bodyEnd, version),
});

/** An AUTH names its method, unless its body is empty. */
function lawfulAuth(any: ReasonPacket & { readonly method: string }): ReasonPacket {
  const { reasonCode, method, properties } = any;
  const isEmpty = reasonCode === 0 && Object.keys(properties).length === 0;
  return { reasonCode, properties: isEmpty ? {} : { ...properties, authenticationMethod: method } };
}

const auth = hideType<ReasonPacket>({
  type: PacketType.auth,
  versions: [5],
  arbitrary: (version) =>
    record({
      reasonCode: codesOf(PacketType.auth),
      method: text,
      properties: propertiesArbitrary(PacketType.auth, version),
    }).map(lawfulAuth),
  encode: encodeAuth,
  decode: (bytes, frame, version) => decodeAuth(bytes, frame.bodyStart, frame.bodyEnd, version),
});

/** All packet types, in the order of their numbers. */
export const packetCodecs: readonly AnyPacketCodec[] = [
  connect,
  connack,
  publish,
  ackCodec(PacketType.puback),
  ackCodec(PacketType.pubrec),
  ackCodec(PacketType.pubrel),
  ackCodec(PacketType.pubcomp),
  subscribe,
  suback,
  unsubscribe,
  unsuback,
  pingCodec(PacketType.pingreq, pingreqBytes),
  pingCodec(PacketType.pingresp, pingrespBytes),
  disconnect,
  auth,
];

/** Any valid packet of a protocol version, of any type that it has. */
export function packetArbitrary(version: ProtocolVersion): fc.Arbitrary<EncodedPacket> {
  const codecs = packetCodecs.filter((codec) => codec.versions.includes(version));
  return fc.oneof(...codecs.map((codec) => codec.arbitrary(version)));
}

/** Decodes the body of a complete frame, whatever its type; the flags of the fixed header are for the caller. */
export function decodePacket(bytes: Buffer, frame: Frame, version: ProtocolVersion): Decoded<unknown> {
  const codec = packetCodecs[frame.type - 1];
  if (codec === undefined) throw new RangeError("packet type 0 has no frame");
  return codec.decode(bytes, frame, version);
}
