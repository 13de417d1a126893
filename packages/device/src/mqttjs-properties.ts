import type { IClientOptions, IClientPublishOptions, IClientSubscribeProperties, IPublishPacket } from "mqtt";

import type { Properties, UserProperty } from "@postern/mqtt/packets";

type PublishProperties = NonNullable<IClientPublishOptions["properties"]>;
type ConnectProperties = NonNullable<IClientOptions["properties"]>;
type WillProperties = NonNullable<NonNullable<IClientOptions["will"]>["properties"]>;
type SubscribeProperties = NonNullable<IClientSubscribeProperties["properties"]>;
type MqttJsUserProperties = NonNullable<PublishProperties["userProperties"]>;

/** MQTT.js keeps one entry per name, so equal names come together; their own order stays. */
function userProperties(list: readonly UserProperty[]): MqttJsUserProperties {
  const byName = new Map<string, string | string[]>();
  for (const [name, value] of list) {
    const known = byName.get(name);
    byName.set(name, known === undefined ? value : Array.isArray(known) ? [...known, value] : [known, value]);
  }
  return Object.fromEntries(byName);
}

/** What a message and a will have in common. */
function messageProperties(properties: Readonly<Properties>): PublishProperties & WillProperties {
  const result: PublishProperties & WillProperties = {};
  if (properties.payloadFormatIndicator !== undefined) {
    result.payloadFormatIndicator = properties.payloadFormatIndicator === 1;
  }
  if (properties.messageExpiryInterval !== undefined) {
    result.messageExpiryInterval = properties.messageExpiryInterval;
  }
  if (properties.contentType !== undefined) result.contentType = properties.contentType;
  if (properties.responseTopic !== undefined) result.responseTopic = properties.responseTopic;
  if (properties.correlationData !== undefined) {
    result.correlationData = Buffer.from(properties.correlationData);
  }
  if (properties.userProperties !== undefined) {
    result.userProperties = userProperties(properties.userProperties);
  }
  return result;
}

/** The properties of a PUBLISH as MQTT.js takes them. */
export function toPublishProperties(properties: Readonly<Properties>): PublishProperties {
  const result: PublishProperties = messageProperties(properties);
  if (properties.topicAlias !== undefined) result.topicAlias = properties.topicAlias;
  return result;
}

/** The properties of a will as MQTT.js takes them. */
export function toWillProperties(properties: Readonly<Properties>): WillProperties {
  const result: WillProperties = messageProperties(properties);
  if (properties.willDelayInterval !== undefined) result.willDelayInterval = properties.willDelayInterval;
  return result;
}

/** The properties of a SUBSCRIBE as MQTT.js takes them. */
export function toSubscribeProperties(properties: Readonly<Properties>): SubscribeProperties {
  const result: SubscribeProperties = {};
  const identifier = properties.subscriptionIdentifiers?.[0];
  if (identifier !== undefined) result.subscriptionIdentifier = identifier;
  if (properties.userProperties !== undefined) {
    result.userProperties = userProperties(properties.userProperties);
  }
  return result;
}

/** The properties of a CONNECT as MQTT.js takes them. */
export function toConnectProperties(properties: Readonly<Properties>): ConnectProperties {
  const result: ConnectProperties = {};
  if (properties.sessionExpiryInterval !== undefined) {
    result.sessionExpiryInterval = properties.sessionExpiryInterval;
  }
  if (properties.receiveMaximum !== undefined) result.receiveMaximum = properties.receiveMaximum;
  if (properties.maximumPacketSize !== undefined) result.maximumPacketSize = properties.maximumPacketSize;
  if (properties.topicAliasMaximum !== undefined) result.topicAliasMaximum = properties.topicAliasMaximum;
  if (properties.requestResponseInformation !== undefined) {
    result.requestResponseInformation = properties.requestResponseInformation === 1;
  }
  if (properties.requestProblemInformation !== undefined) {
    result.requestProblemInformation = properties.requestProblemInformation === 1;
  }
  if (properties.userProperties !== undefined) {
    result.userProperties = userProperties(properties.userProperties);
  }
  return result;
}

function userPropertyList(properties: MqttJsUserProperties): UserProperty[] {
  return Object.entries(properties).flatMap(([name, value]) =>
    Array.isArray(value) ? value.map((one): UserProperty => [name, one]) : [[name, value] as const],
  );
}

/** The properties of a received message. The topic alias is left out: it means nothing beyond its connection. */
export function fromPublishProperties(properties: IPublishPacket["properties"]): Properties {
  const result: Properties = {};
  if (properties === undefined) return result;
  if (properties.payloadFormatIndicator !== undefined) {
    result.payloadFormatIndicator = properties.payloadFormatIndicator ? 1 : 0;
  }
  if (properties.messageExpiryInterval !== undefined) {
    result.messageExpiryInterval = properties.messageExpiryInterval;
  }
  if (properties.contentType !== undefined) result.contentType = properties.contentType;
  if (properties.responseTopic !== undefined) result.responseTopic = properties.responseTopic;
  if (properties.correlationData !== undefined) result.correlationData = properties.correlationData;
  const identifiers = properties.subscriptionIdentifier;
  if (identifiers !== undefined) {
    result.subscriptionIdentifiers = Array.isArray(identifiers) ? identifiers : [identifiers];
  }
  if (properties.userProperties !== undefined) {
    result.userProperties = userPropertyList(properties.userProperties);
  }
  return result;
}
