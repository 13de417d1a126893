import { hostAndPort } from "@postern/core/host";
import { stringify } from "yaml";

import type { Configuration, EstConfiguration } from "./configuration.ts";
import { formatListenerUrl } from "./listener-url.ts";

/** Without the keys that were not given and have no default. */
function withoutUndefined(value: object): object {
  return JSON.parse(JSON.stringify(value));
}

function estInFile({
  host,
  port,
  certificateDays,
  renewalGraceDays,
  sameKeyRenewal,
}: EstConfiguration): object {
  const url = `https://${hostAndPort(host, port)}`;
  return { url, certificateDays, renewalGraceDays, sameKeyRenewal };
}

function defined(values: object): object {
  return Object.fromEntries(Object.entries(values).filter(([, value]) => value !== undefined));
}

/** What `toFileShape` gives as text. */
export function toFileText(shape: object): string {
  return stringify(shape);
}

/** The configuration in force in the shape of the file, every key spelled out. */
export function toFileShape(configuration: Configuration): object {
  const {
    listeners,
    limits,
    workers,
    names,
    tls,
    authentication,
    log,
    metrics,
    est,
    revocation,
    trustAnchors,
    gate,
    serverReference,
    responseInformation,
  } = configuration;
  const optional = { serverReference, responseInformation };
  return {
    listeners: listeners.map(
      ({ address, name, anonymous, insecure, sealedPasswords, limits: own, psk, origins, tls: session }) => ({
        url: formatListenerUrl(address),
        name,
        anonymous,
        insecure,
        sealedPasswords,
        limits: own,
        psk,
        origins,
        tls: session,
      }),
    ),
    workers,
    names,
    tls: withoutUndefined(tls),
    authentication: withoutUndefined(authentication),
    log,
    metrics:
      metrics === undefined
        ? { url: "off" }
        : { url: `http://${hostAndPort(metrics.host, metrics.port)}`, insecure: metrics.insecure },
    est: est === undefined ? { url: "off" } : estInFile(est),
    revocation: {
      url: revocation === undefined ? "off" : `http://${hostAndPort(revocation.host, revocation.port)}`,
      ...(revocation?.publicUrl === undefined ? {} : { publicUrl: revocation.publicUrl }),
    },
    trustAnchors: trustAnchors.map(defined),
    gate: gate === undefined ? { mode: "off" } : { mode: "on", ...withoutUndefined(gate) },
    ...defined(optional),
    limits,
  };
}
