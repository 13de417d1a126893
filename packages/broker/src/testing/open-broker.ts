import { systemClock } from "@postern/core/clock";
import { silentLog } from "@postern/core/log";
import type { QoS, SessionStore } from "@postern/core/session-store";
import { atEveryQoS, TopicRight } from "@postern/core/topic-right";

import { Broker } from "../broker.ts";
import { limitsSchema, type Limits, type ListenerLimits } from "../limits.ts";
import type { ListenerKind, RunningListener } from "../listeners/listener.ts";
import type {
  AuditEvent,
  Authenticator,
  Authorizer,
  BrokerPorts,
  PermissionLimits,
  Permissions,
  PermissionsRequest,
} from "../ports.ts";
import { poisonReusedMemory } from "./poison.ts";

poisonReusedMemory();

/** All tests of the broker can be run with several threads. */
export const workersOfTests = Number(process.env["POSTERN_TEST_WORKERS"] ?? "1");

/** Lets everybody in without proof. */
const anonymousAuthenticator: Authenticator = {
  authenticate: () => ({ kind: "accepted", identity: { name: "", anonymous: true }, untilMs: Infinity }),
  exchange: () => undefined,
};

/** What a client of a test may do; everything unless said otherwise. */
export interface TestRules {
  readonly mayPublish?: (topic: string, qos: QoS) => boolean;
  readonly maySubscribe?: (filter: string, qos: QoS, shared: boolean) => boolean;
  readonly mayReceive?: (topic: string) => boolean;
  readonly mayWill?: (topic: string) => boolean;
  readonly mayRetain?: (topic: string) => boolean;
}

const noLimits: PermissionLimits = {
  messagesPerSecondMax: undefined,
  bytesPerSecondMax: undefined,
  sessionsMax: undefined,
  queuedBytesMax: undefined,
  retainedMessagesMax: undefined,
  retainedBytesMax: undefined,
  together: [],
};

/** Permissions by functions, for tests. */
export function permissionsBy(rules: TestRules, changes: Partial<Permissions> = {}): Permissions {
  const { mayPublish, maySubscribe, mayReceive, mayWill, mayRetain } = rules;
  const levels = [0, 1, 2] as const;
  return {
    rightsOn: (topic) => {
      let rights = mayReceive?.(topic) === false ? 0 : atEveryQoS(TopicRight.subscribe);
      if (mayRetain?.(topic) !== false) rights |= atEveryQoS(TopicRight.retain);
      for (const qos of levels) {
        if (mayPublish?.(topic, qos) === false) continue;
        rights |= TopicRight.publish << qos;
        if (mayWill?.(topic) !== false) rights |= TopicRight.will << qos;
      }
      return rights;
    },
    grantedQoS: (filter, qos, shared) => (maySubscribe?.(filter, qos, shared) === false ? undefined : qos),
    mayPersist: true,
    refusedPublish: "drop",
    checksResponseTopics: true,
    limits: noLimits,
    problems: [],
    ...changes,
  };
}

/** An authorizer by functions, the same for everybody or by client. */
export function authorizerBy(rules: (request: PermissionsRequest) => Permissions): Authorizer {
  return {
    permissionsOf: rules,
    publisherRights: (name, topic) =>
      rules({ identity: { name, anonymous: name === "" }, clientId: "" }).rightsOn(topic),
    purgeRetainedAfterMs: Infinity,
  };
}

/** Permits everything. */
const openAuthorizer = authorizerBy(() => permissionsBy({}));

/** Ports that let everything happen and record nothing. */
export function openBrokerPorts(store: SessionStore): BrokerPorts {
  return {
    clock: systemClock,
    log: silentLog,
    store,
    authenticator: anonymousAuthenticator,
    authorizer: openAuthorizer,
    payloadRules: undefined,
    bus: undefined,
    audit: { record() {} },
  };
}

export interface OpenBrokerOptions {
  readonly store: SessionStore;
  readonly limits?: Partial<Limits>;
  readonly ports?: Partial<BrokerPorts>;
  readonly responseInformation?: string;
  readonly workers?: number;
  readonly workersWhenBusy?: boolean;
}

export interface OpenBroker {
  readonly broker: Broker;
  readonly events: AuditEvent[];
  listen(kind?: ListenerKind, limits?: ListenerLimits, host?: string): Promise<RunningListener>;
}

/** A broker for tests: anonymous, everything permitted, loopback, free ports. */
export function openBroker(options: OpenBrokerOptions): OpenBroker {
  const events: AuditEvent[] = [];
  const broker = new Broker(
    {
      ...openBrokerPorts(options.store),
      audit: { record: (event) => void events.push(event) },
      ...options.ports,
    },
    {
      limits: limitsSchema.parse(options.limits ?? {}),
      responseInformation: options.responseInformation,
      serverReference: undefined,
      version: "test",
      workers: options.workers ?? workersOfTests,
      workersWhenBusy: options.workersWhenBusy,
    },
  );
  return {
    broker,
    events,
    listen: (kind = "mqtt", limits = {}, host = "127.0.0.1") =>
      broker.listen({
        name: kind,
        kind,
        host,
        port: 0,
        anonymous: true,
        confidential: true,
        limits,
        tls: undefined,
      }),
  };
}
