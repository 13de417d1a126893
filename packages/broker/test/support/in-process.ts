import { MemorySessionStore } from "@postern/store/memory-session-store";

import type { ListenerOptions } from "../../src/listeners/listener.ts";
import type { Authenticator, BrokerPorts } from "../../src/ports.ts";
import { authorizerBy, openBroker, permissionsBy } from "../../src/testing/open-broker.ts";
import type { Address } from "./raw-client.ts";
import type { Listeners } from "./target.ts";

export const anonymous = {
  kind: "accepted",
  identity: { name: "", anonymous: true },
  untilMs: Infinity,
} as const;

/** Lets everybody in on listeners that ask for no proof, and nobody elsewhere. */
const authenticator: Authenticator = {
  authenticate: ({ peer }) =>
    peer.anonymousAllowed ? anonymous : { kind: "refused", reasonCode: 0x86, reason: "nobody is known here" },
  exchange: () => undefined,
};

function isOrdinary(topicOrFilter: string): boolean {
  return !topicOrFilter.startsWith("$");
}

/** As the product does it: `$` topics are the broker's own. */
const authorizer = authorizerBy(() =>
  permissionsBy({ mayPublish: isOrdinary, maySubscribe: isOrdinary, mayReceive: isOrdinary }),
);

/** A broker in this process, whose sessions are kept in memory. */
export interface InProcessBroker extends AsyncDisposable {
  readonly listeners: { readonly [name in keyof Listeners]-?: Address };
  stop(): Promise<void>;
}

const smallLimits = {
  packetBytesMax: 2_048,
  receiveMaximum: 3,
  topicAliasMaximum: 3,
  keepAliveSecondsMax: 2,
};

export async function startInProcess(ports: Partial<BrokerPorts> = {}): Promise<InProcessBroker> {
  const { broker } = openBroker({
    store: new MemorySessionStore(),
    ports: { authenticator, authorizer, ...ports },
    responseInformation: "responses/${client}/",
  });
  const listen = async (options: Partial<ListenerOptions>) => {
    const { port } = await broker.listen({
      name: "test",
      kind: "mqtt",
      host: "127.0.0.1",
      port: 0,
      anonymous: true,
      confidential: true,
      limits: {},
      tls: undefined,
      ...options,
    });
    return { host: "127.0.0.1", port };
  };
  return {
    listeners: {
      plain: await listen({}),
      limited: await listen({ limits: smallLimits }),
      webSocket: await listen({ kind: "ws" }),
      guarded: await listen({ anonymous: false }),
    },
    stop: () => broker.close(),
    [Symbol.asyncDispose]: () => broker.close(),
  };
}
