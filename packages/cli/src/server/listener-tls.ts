import type { ListenerOptions } from "@postern/broker/listeners/listener";
import type { FailureRecorder } from "@postern/identity/authentication/failure-recorder";
import { pskOf } from "@postern/identity/psk";

import type { Configuration, ListenerConfiguration, SessionConfiguration } from "../config/configuration.ts";
import { isTls } from "../config/listener-url.ts";
import type { Certificates } from "./certificates.ts";

function resumptionOf({
  sessionResumption,
  sessionSeconds,
}: SessionConfiguration): ListenerOptions["resumption"] {
  if (sessionResumption === false) return undefined;
  const tickets = sessionResumption !== "ids";
  const ids = sessionResumption !== "tickets";
  return { tickets, ids, seconds: sessionSeconds };
}

/** How a listener of the configuration does TLS: with certificates, with pre-shared keys, or not at all. */
export function listenerTls(
  { address, psk, origins, tls }: ListenerConfiguration,
  configuration: Configuration,
  { certificates, failures }: { readonly certificates: Certificates; readonly failures: FailureRecorder },
): Pick<ListenerOptions, "tls" | "resumption" | "psk" | "origins"> {
  if (!isTls(address)) return { tls: undefined, origins };
  if (psk) {
    const { minVersion, maxVersion } = configuration.tls;
    return {
      tls: () => ({
        context: { minVersion: `TLSv${minVersion}`, maxVersion: `TLSv${maxVersion}` },
        requestCertificate: false,
      }),
      psk: {
        keyOf: (identity) => pskOf(certificates.installation.registry, identity),
        failed: (identity, address) => failures.record({ address, identity }, "psk"),
      },
      origins,
    };
  }
  return {
    tls: () => certificates.tlsMaterial(),
    resumption: resumptionOf({ ...configuration.tls, ...tls }),
    origins,
  };
}
