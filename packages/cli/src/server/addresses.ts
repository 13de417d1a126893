import { isIPv4 } from "node:net";
import { hostname, networkInterfaces } from "node:os";

import { hostAndPort, isLoopback } from "@postern/core/host";

import type { Configuration } from "../config/configuration.ts";
import { isTls, isWildcard } from "../config/listener-url.ts";

/** The machine as far as its addresses go; passed in so that tests can have another. */
export interface Machine {
  readonly hostname: string;
  /** Addresses that other machines may reach. */
  readonly addresses: readonly string[];
}

export function thisMachine(): Machine {
  const addresses = Object.values(networkInterfaces())
    .flatMap((entries) => entries ?? [])
    // A link-local address means nothing without the interface.
    .filter(({ internal, address }) => !internal && !address.startsWith("fe80:"))
    .map(({ address }) => address);
  return { hostname: hostname(), addresses };
}

const loopbackHosts = ["localhost", "127.0.0.1", "::1"] as const;

/** What can stand in a certificate. */
const hostNamePattern = /^[A-Za-z0-9_][A-Za-z0-9_.-]{0,252}$/;

/** The names and addresses that the server's certificate must answer for. */
export function certificateHosts(
  { listeners, names, est }: Pick<Configuration, "listeners" | "names" | "est">,
  machine: Machine,
): string[] {
  const hosts = new Set<string>([...loopbackHosts, ...names]);
  if (hostNamePattern.test(machine.hostname)) hosts.add(machine.hostname);
  const places = listeners.flatMap(({ address }) => (address.kind === "unix" ? [] : [address.host]));
  for (const place of est === undefined ? places : [...places, est.host]) {
    if (isWildcard(place)) for (const host of machine.addresses) hosts.add(host);
    else hosts.add(place);
  }
  return [...hosts];
}

/** The hosts by which devices may find a listener on `host`, the preferred first. */
function deviceHosts(host: string, names: readonly string[], machine: Machine): string[] {
  if (isLoopback(host)) return [host];
  if (!isWildcard(host)) return [...names, host];
  return [...names, ...machine.addresses.filter(isIPv4).slice(0, 1), "127.0.0.1"];
}

/**
 * The addresses for devices' bundles: of each TLS listener with the port that was really bound; of those for certificates, passwords
 * and tokens, or of those for pre-shared keys.
 */
export function bundleServers(
  { listeners, names }: Pick<Configuration, "listeners" | "names">,
  ports: ReadonlyMap<string, number>,
  machine: Machine,
  forPsk = false,
): { url: string }[] {
  const urls = listeners.flatMap(({ name, address, psk }) => {
    if (address.kind === "unix" || !isTls(address) || psk !== forPsk) return [];
    const { kind, host } = address;
    const port = ports.get(name) ?? address.port;
    return deviceHosts(host, names, machine).map(
      (deviceHost) => `${kind}://${hostAndPort(deviceHost, port)}`,
    );
  });
  return [...new Set(urls)].map((url) => ({ url }));
}

/** The addresses where devices renew their certificates, for their bundles; `port` is the one that was really bound. */
export function estServers(
  { est, names }: Pick<Configuration, "est" | "names">,
  port: number,
  machine: Machine,
): { url: string }[] {
  if (est === undefined) return [];
  const hosts = new Set(deviceHosts(est.host, names, machine));
  return [...hosts].map((host) => ({ url: `https://${hostAndPort(host, port)}` }));
}
