/** `$`: topics that begin with it are the server's own. @see MQTT 5.0 §4.7.2 */
const dollar = 0x24;

const systemPrefix = "$SYS/";

/** What one connection may do; see the broker's port of the same name. */
export interface TopicPermissions {
  mayPublish(topic: string): boolean;
  maySubscribe(filter: string): boolean;
  mayReceive(topic: string): boolean;
}

function isOrdinary(topicOrFilter: string): boolean {
  return topicOrFilter.charCodeAt(0) !== dollar;
}

function isOrdinaryOrSystem(topicOrFilter: string): boolean {
  return isOrdinary(topicOrFilter) || topicOrFilter.startsWith(systemPrefix);
}

/** Everything but the server's own topics. */
const applicationTopics: TopicPermissions = {
  mayPublish: isOrdinary,
  maySubscribe: isOrdinary,
  mayReceive: isOrdinary,
};

/** And `$SYS/…`, to read. */
const applicationAndSystemTopics: TopicPermissions = {
  mayPublish: isOrdinary,
  maySubscribe: isOrdinaryOrSystem,
  mayReceive: isOrdinaryOrSystem,
};

export interface SystemTopicReaders {
  /** Devices that may read `$SYS/…`. */
  readonly devices: ReadonlySet<string>;
  /** Listeners whose anonymous clients may. */
  readonly listeners: ReadonlySet<string>;
}

export interface SystemTopicRequest {
  readonly identity: { readonly name: string; readonly anonymous: boolean };
  readonly listener: string;
}

/**
 * Whoever is let in may use every topic of applications; `$SYS/…` is read by those named only. One of two fixed
 * answers per connection, so a publish costs one comparison of a character.
 */
export function createSystemTopicAuthorizer(readers: SystemTopicReaders): {
  permissionsOf(request: SystemTopicRequest): TopicPermissions;
} {
  return {
    permissionsOf: ({ identity, listener }) => {
      const reader = identity.anonymous
        ? readers.listeners.has(listener)
        : readers.devices.has(identity.name);
      return reader ? applicationAndSystemTopics : applicationTopics;
    },
  };
}
