import type { Configuration } from "./configuration.ts";
import { hostAndPort, formatListenerUrl } from "./listener-url.ts";

/** Without the keys that were not given and have no default. */
function withoutUndefined(value: object): object {
  return JSON.parse(JSON.stringify(value));
}

/** The configuration in force in the shape of the file, every key spelled out. */
export function toFileShape(configuration: Configuration): object {
  const {
    listeners,
    limits,
    names,
    tls,
    authentication,
    systemTopicReaders,
    log,
    metrics,
    serverReference,
    responseInformation,
  } = configuration;
  const optional = { serverReference, responseInformation };
  return {
    listeners: listeners.map(
      ({ address, name, anonymous, insecure, systemTopics, limits: own, psk, origins, tls: session }) => ({
        url: formatListenerUrl(address),
        name,
        anonymous,
        insecure,
        systemTopics,
        limits: own,
        psk,
        origins,
        tls: session,
      }),
    ),
    names,
    tls,
    authentication: withoutUndefined(authentication),
    systemTopics: { readers: systemTopicReaders },
    log,
    metrics:
      metrics === undefined
        ? { url: "off" }
        : { url: `http://${hostAndPort(metrics.host, metrics.port)}`, insecure: metrics.insecure },
    ...Object.fromEntries(Object.entries(optional).filter(([, value]) => value !== undefined)),
    limits,
  };
}
