import { PacketType, type Properties } from "./packets.ts";

/** Where properties stand: a packet of some type, or the will within CONNECT. */
export type PropertyPlace = PacketType | "will";

/** The properties whose values have this type. */
type NamesOf<T> = {
  [N in keyof Properties]-?: Exclude<Properties[N], undefined> extends T
    ? T extends Exclude<Properties[N], undefined>
      ? N
      : never
    : never;
}[keyof Properties];

type FlagName = NamesOf<0 | 1>;
type NumberName = NamesOf<number>;
type StringName = NamesOf<string>;
type BinaryName = NamesOf<Uint8Array>;

/** What a property's value looks like on the wire, and the name it has in `Properties`. */
type PropertyForm =
  /** A byte that is 0 or 1. */
  | { readonly form: "flag"; readonly name: FlagName }
  | { readonly form: "twoBytes" | "fourBytes"; readonly name: NumberName; readonly zero: ZeroRule }
  | { readonly form: "string"; readonly name: StringName }
  | { readonly form: "binary"; readonly name: BinaryName }
  /** A variable byte integer above 0; may come again in PUBLISH. */
  | { readonly form: "subscriptionIdentifier"; readonly name: "subscriptionIdentifiers" }
  /** A name and a value; may come again everywhere. */
  | { readonly form: "userProperty"; readonly name: "userProperties" };

/** What a value of 0 is: allowed, or an error of this kind. */
type ZeroRule = "allowed" | "protocolError" | "topicAliasInvalid";

/** All that is known of one property. */
export type PropertyRow = PropertyForm & {
  readonly id: number;
  /** A bit set of packet types: bit n stands for packet type n, bit 0 for the will. */
  readonly places: number;
};

function bit(place: PropertyPlace): number {
  return place === "will" ? 1 : 1 << place;
}

function at(...places: readonly PropertyPlace[]): number {
  return places.reduce((bits, place) => bits | bit(place), 0);
}

const { connect, connack, publish, puback, pubrec, pubrel, pubcomp } = PacketType;
const { subscribe, suback, unsubscribe, unsuback, disconnect, auth } = PacketType;
const answers = [connack, puback, pubrec, pubrel, pubcomp, suback, unsuback, disconnect, auth] as const;

/** All properties of MQTT 5, in the order in which the encoder writes them. @see MQTT 5.0 §2.2.2.2, Table 2-4 */
export const propertyTable: readonly PropertyRow[] = [
  { id: 1, name: "payloadFormatIndicator", form: "flag", places: at(publish, "will") },
  { id: 2, name: "messageExpiryInterval", form: "fourBytes", zero: "allowed", places: at(publish, "will") },
  { id: 3, name: "contentType", form: "string", places: at(publish, "will") },
  { id: 8, name: "responseTopic", form: "string", places: at(publish, "will") },
  { id: 9, name: "correlationData", form: "binary", places: at(publish, "will") },
  {
    id: 11,
    name: "subscriptionIdentifiers",
    form: "subscriptionIdentifier",
    places: at(publish, subscribe),
  },
  {
    id: 17,
    name: "sessionExpiryInterval",
    form: "fourBytes",
    zero: "allowed",
    places: at(connect, connack, disconnect),
  },
  { id: 18, name: "assignedClientIdentifier", form: "string", places: at(connack) },
  { id: 19, name: "serverKeepAlive", form: "twoBytes", zero: "allowed", places: at(connack) },
  { id: 21, name: "authenticationMethod", form: "string", places: at(connect, connack, auth) },
  { id: 22, name: "authenticationData", form: "binary", places: at(connect, connack, auth) },
  { id: 23, name: "requestProblemInformation", form: "flag", places: at(connect) },
  { id: 24, name: "willDelayInterval", form: "fourBytes", zero: "allowed", places: at("will") },
  { id: 25, name: "requestResponseInformation", form: "flag", places: at(connect) },
  { id: 26, name: "responseInformation", form: "string", places: at(connack) },
  { id: 28, name: "serverReference", form: "string", places: at(connack, disconnect) },
  { id: 31, name: "reasonString", form: "string", places: at(...answers) },
  { id: 33, name: "receiveMaximum", form: "twoBytes", zero: "protocolError", places: at(connect, connack) },
  { id: 34, name: "topicAliasMaximum", form: "twoBytes", zero: "allowed", places: at(connect, connack) },
  { id: 35, name: "topicAlias", form: "twoBytes", zero: "topicAliasInvalid", places: at(publish) },
  { id: 36, name: "maximumQoS", form: "flag", places: at(connack) },
  { id: 37, name: "retainAvailable", form: "flag", places: at(connack) },
  {
    id: 38,
    name: "userProperties",
    form: "userProperty",
    places: at(connect, "will", publish, subscribe, unsubscribe, ...answers),
  },
  {
    id: 39,
    name: "maximumPacketSize",
    form: "fourBytes",
    zero: "protocolError",
    places: at(connect, connack),
  },
  { id: 40, name: "wildcardSubscriptionAvailable", form: "flag", places: at(connack) },
  { id: 41, name: "subscriptionIdentifierAvailable", form: "flag", places: at(connack) },
  { id: 42, name: "sharedSubscriptionAvailable", form: "flag", places: at(connack) },
];

const rowById: readonly (PropertyRow | undefined)[] = Array.from({ length: 43 }, (_, id) =>
  propertyTable.find((row) => row.id === id),
);

/** The row of a property identifier, or `undefined` for one that the specification does not define. */
export function propertyRow(id: number): PropertyRow | undefined {
  return rowById[id];
}

/** Whether a property may stand in this place. */
export function propertyAllowed(row: PropertyRow, place: PropertyPlace): boolean {
  return (row.places & bit(place)) !== 0;
}
