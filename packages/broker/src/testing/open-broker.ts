import { systemClock } from "@postern/core/clock";
import { silentLog } from "@postern/core/log";
import type { SessionStore } from "@postern/core/session-store";

import { Broker } from "../broker.ts";
import { limitsSchema, type Limits, type ListenerLimits } from "../limits.ts";
import type { ListenerKind, RunningListener } from "../listeners/listener.ts";
import type { AuditEvent, Authenticator, Authorizer, BrokerPorts } from "../ports.ts";

/** Lets everybody in without proof. */
const anonymousAuthenticator: Authenticator = {
  authenticate: () => ({ kind: "accepted", identity: { name: "", anonymous: true }, untilMs: Infinity }),
  exchange: () => undefined,
};

/** Permits everything. */
export const openAuthorizer: Authorizer = {
  permissionsOf: () => ({ mayPublish: () => true, maySubscribe: () => true, mayReceive: () => true }),
};

/** Ports that let everything happen and record nothing. */
export function openBrokerPorts(store: SessionStore): BrokerPorts {
  return {
    clock: systemClock,
    log: silentLog,
    store,
    authenticator: anonymousAuthenticator,
    authorizer: openAuthorizer,
    payloadRule: undefined,
    bus: undefined,
    audit: { record() {} },
  };
}

export interface OpenBrokerOptions {
  readonly store: SessionStore;
  readonly limits?: Partial<Limits>;
  readonly ports?: Partial<BrokerPorts>;
  readonly responseInformation?: string;
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
