import * as fc from "fast-check";

import { PacketType, type Properties, type ProtocolVersion, type QoS } from "../src/packets.ts";
import { type PropertyPlace, propertyAllowed, propertyTable } from "../src/property-table.ts";
import { reasonCodeAllowed } from "../src/reason-codes.ts";

/** An object with these fields, as a literal would make it. */
export function record<T>(fields: { [K in keyof T]: fc.Arbitrary<T[K]> }): fc.Arbitrary<T> {
  return fc.record(fields, { noNullPrototype: true });
}

/** Any text MQTT can carry: mostly ASCII, now and then any code point but U+0000. */
export const text: fc.Arbitrary<string> = fc.oneof(
  { arbitrary: fc.string({ maxLength: 24 }), weight: 3 },
  {
    arbitrary: fc.string({ unit: "binary", maxLength: 12 }).map((any) => any.replaceAll("\0", "\uFEFF")),
    weight: 1,
  },
);
/** Any legal topic name. */
export const topicName = text.map((any) => any.replaceAll(/[+#]/g, "/") || "/");
/** Legal topic filters, shared ones too. */
export const topicFilter = fc.oneof(
  topicName,
  fc.constantFrom("#", "+", "a/+/b", "a/#", "$SYS/#", "$share/group/a/+", "/+/"),
);
/** A few bytes. */
export const binary = fc.uint8Array({ maxLength: 40 });
/** A payload whose packet takes one or two bytes of remaining length. */
export const payload = fc.oneof(binary, fc.uint8Array({ minLength: 100, maxLength: 300 }));
const bit = fc.constantFrom<0 | 1>(0, 1);
/** 0, 1 or 2. */
export const qosLevel = fc.constantFrom<QoS>(0, 1, 2);
/** Any two-byte integer. */
export const twoBytes = fc.integer({ min: 0, max: 0xff_ff });
/** A packet identifier, or anything else that is not 0 and fits two bytes. */
export const positiveTwoBytes = fc.integer({ min: 1, max: 0xff_ff });
const fourBytes = fc.integer({ min: 0, max: 0xff_ff_ff_ff });
const identifier = fc.integer({ min: 1, max: 268_435_455 });

type PropertyValues = { readonly [N in keyof Properties]-?: fc.Arbitrary<Exclude<Properties[N], undefined>> };

const propertyValues: PropertyValues = {
  payloadFormatIndicator: bit,
  messageExpiryInterval: fourBytes,
  contentType: text,
  responseTopic: topicName,
  correlationData: binary,
  subscriptionIdentifiers: fc.array(identifier, { minLength: 1, maxLength: 3 }),
  sessionExpiryInterval: fourBytes,
  assignedClientIdentifier: text,
  serverKeepAlive: twoBytes,
  authenticationMethod: text,
  authenticationData: binary,
  requestProblemInformation: bit,
  willDelayInterval: fourBytes,
  requestResponseInformation: bit,
  responseInformation: text,
  serverReference: text,
  reasonString: text,
  receiveMaximum: positiveTwoBytes,
  topicAliasMaximum: twoBytes,
  topicAlias: positiveTwoBytes,
  maximumQoS: bit,
  retainAvailable: bit,
  userProperties: fc.array(fc.tuple(text, text), { minLength: 1, maxLength: 3 }),
  maximumPacketSize: fc.integer({ min: 1, max: 0xff_ff_ff_ff }),
  wildcardSubscriptionAvailable: bit,
  subscriptionIdentifierAvailable: bit,
  sharedSubscriptionAvailable: bit,
};

const anyProperties: fc.Arbitrary<Properties> = fc.record(propertyValues, {
  requiredKeys: [],
  noNullPrototype: true,
});
const none: fc.Arbitrary<Properties> = fc.constant({});

function propertiesFor(place: PropertyPlace, all: Properties): Properties {
  const kept: Properties = { ...all };
  for (const row of propertyTable) if (!propertyAllowed(row, place)) delete kept[row.name];
  const [first] = kept.subscriptionIdentifiers ?? [];
  if (first !== undefined && place === PacketType.subscribe) kept.subscriptionIdentifiers = [first];
  if (kept.authenticationMethod === undefined) delete kept.authenticationData;
  return kept;
}

/** Any properties that may stand in this place; none before MQTT 5. */
export function propertiesArbitrary(
  place: PropertyPlace,
  version: ProtocolVersion,
): fc.Arbitrary<Properties> {
  if (version !== 5) return none;
  const allowed = anyProperties.map((all) => propertiesFor(place, all));
  return fc.oneof({ arbitrary: none, weight: 1 }, { arbitrary: allowed, weight: 2 });
}

/** Any reason code that this packet type may carry. */
export function codesOf(type: PacketType): fc.Arbitrary<number> {
  return fc.constantFrom(
    ...Array.from({ length: 256 }, (_, code) => code).filter((code) => reasonCodeAllowed(type, code)),
  );
}
