import { systemClock, type Clock } from "@postern/core/clock";
import { silentLog, type Log } from "@postern/core/log";
import type { SessionStore } from "@postern/core/session-store";

import { Broker } from "../broker.ts";
import { limitsSchema, type Limits, type ListenerLimits } from "../limits.ts";
import type { ListenerKind, RunningListener } from "../listeners/listener.ts";
import type { AuditEvent, Authenticator, Authorizer, BrokerPorts } from "../ports.ts";

/** Lets everybody in without proof. */
export const anonymousAuthenticator: Authenticator = {
  authenticate: () => ({ kind: "accepted", identity: { name: "", anonymous: true } }),
  exchange: () => undefined,
};

/** Permits everything. */
export const openAuthorizer: Authorizer = {
  permissionsOf: () => ({ mayPublish: () => true, maySubscribe: () => true, mayReceive: () => true }),
};

export interface OpenBrokerOptions {
  readonly store: SessionStore;
  readonly limits?: Partial<Limits>;
  readonly ports?: Partial<BrokerPorts>;
  readonly clock?: Clock;
  readonly log?: Log;
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
      clock: options.clock ?? systemClock,
      log: options.log ?? silentLog,
      store: options.store,
      authenticator: anonymousAuthenticator,
      authorizer: openAuthorizer,
      payloadRule: undefined,
      bus: undefined,
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
      broker.listen({ name: kind, kind, host, port: 0, anonymous: true, limits, tls: undefined }),
  };
}
