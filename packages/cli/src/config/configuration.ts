import { defaultLimits, type Limits, type ListenerLimits } from "@postern/broker/limits";
import { hostAndPort, isLoopback } from "@postern/core/host";

import { resolveAuthentication, type AuthenticationConfiguration } from "./authentication.ts";
import { gateWarnings, resolveGate, type GateConfiguration } from "./gate.ts";
import { formatListenerUrl, isTls, parseListenerUrl, type ListenerAddress } from "./listener-url.ts";
import type { ConfigFile } from "./read.ts";
import { resolveRevocation, type RevocationConfiguration } from "./revocation.ts";
import { parseHttpUrl, type GivenConfiguration, type logFormats, type logLevels } from "./schema.ts";
import { resolveTrustAnchors, type TrustAnchorConfiguration } from "./trust-anchors.ts";

export type LogLevel = (typeof logLevels)[number];
export type LogFormat = (typeof logFormats)[number];
type TlsVersion = "1.2" | "1.3";

/** One listener, with everything decided. */
export interface ListenerConfiguration {
  readonly name: string;
  readonly address: ListenerAddress;
  /** Lets clients in that prove nothing. */
  readonly anonymous: boolean;
  readonly insecure: boolean;
  /** In plain text, it takes passwords and tokens that are encrypted to the server's key. */
  readonly sealedPasswords: boolean;
  /** Its own, over the broker's. */
  readonly limits: ListenerLimits;
  /** Its clients prove themselves by a pre-shared key, and neither side has a certificate. */
  readonly psk: boolean;
  /** Web pages whose scripts may connect. */
  readonly origins: readonly string[];
  /** What it says over the `tls` of all. */
  readonly tls: Partial<SessionConfiguration>;
}

/** How TLS clients may take up an earlier session; their certificate is checked at each CONNECT in any case. */
export interface SessionConfiguration {
  /** True for tickets and ids. */
  readonly sessionResumption: boolean | "tickets" | "ids";
  readonly sessionSeconds: number;
}

export interface TlsConfiguration extends SessionConfiguration {
  readonly minVersion: TlsVersion;
  readonly maxVersion: TlsVersion;
  /** The server's certificate obliges it to staple OCSP answers, which it does in any case. */
  readonly mustStaple: boolean;
  /** Files of a server certificate that another authority issued, as given: relative to the configuration file. */
  readonly certificate: string | undefined;
  readonly key: string | undefined;
  readonly ca: string | undefined;
}

export interface MetricsConfiguration {
  readonly host: string;
  readonly port: number;
  /** Whether the configuration asked for this very address: then the server does not start without it. */
  readonly required: boolean;
  readonly insecure: boolean;
}

/** Where and how devices get certificates over the network. */
export interface EstConfiguration {
  readonly host: string;
  readonly port: number;
  /** Whether the configuration asked for this very address: then the server does not start without it. */
  readonly required: boolean;
  /** Life of the certificates that are issued. */
  readonly certificateDays: number;
  /** So long after its end a certificate can still be renewed. */
  readonly renewalGraceDays: number;
  /** Whether a renewal may keep the key. */
  readonly sameKeyRenewal: boolean;
  /** Whether a gate hides it too, where other machines could reach it. */
  readonly hidden: boolean;
}

/** The configuration in force: what was given, and the default for what was not. */
export interface Configuration {
  /** The file it came from; `undefined` when it is all defaults. */
  readonly file: string | undefined;
  readonly listeners: readonly ListenerConfiguration[];
  readonly limits: Limits;
  /** Threads that connections are spread over; `auto`: as many as there are cores less one, as they are needed. */
  readonly workers: number | "auto";
  readonly names: readonly string[];
  readonly tls: TlsConfiguration;
  readonly authentication: AuthenticationConfiguration;
  readonly log: { readonly level: LogLevel; readonly format: LogFormat };
  /** Where metrics and health are served; `undefined` for nowhere. */
  readonly metrics: MetricsConfiguration | undefined;
  /** `undefined` when devices get no certificates over the network. */
  readonly est: EstConfiguration | undefined;
  /** Where CRL and OCSP are served; `undefined` for nowhere. */
  readonly revocation: RevocationConfiguration | undefined;
  readonly trustAnchors: readonly TrustAnchorConfiguration[];
  /** `undefined` when nothing is to be hidden. */
  readonly gate: GateConfiguration | undefined;
  /** As given, relative to the configuration file. */
  readonly data: string | undefined;
  readonly serverReference: string | undefined;
  readonly responseInformation: string | undefined;
  /** What a person should know before relying on this, each one sentence. */
  readonly warnings: readonly string[];
}

const defaultMetricsPort = 9883;
const defaultEstPort = 8885;

function defaultListeners(host: string): ListenerConfiguration[] {
  const addresses: ListenerAddress[] = [
    { kind: "mqtts", host, port: 8883 },
    { kind: "wss", host, port: 8884 },
  ];
  return addresses.map((address) => ({
    name: formatListenerUrl(address),
    address,
    anonymous: false,
    insecure: false,
    sealedPasswords: false,
    limits: {},
    psk: false,
    origins: [],
    tls: {},
  }));
}

function givenListeners({ given, errorAt }: ConfigFile): ListenerConfiguration[] | undefined {
  return given.listeners?.map((listener, index) => {
    const address = parseListenerUrl(listener.url);
    if (address.kind === "invalid") throw errorAt(["listeners", index, "url"], address.reason);
    return {
      name: listener.name ?? formatListenerUrl(address),
      address,
      anonymous: listener.anonymous ?? false,
      insecure: listener.insecure ?? false,
      sealedPasswords: listener.sealedPasswords ?? false,
      limits: listener.limits ?? {},
      psk: listener.psk ?? false,
      origins: listener.origins ?? [],
      tls: sessionOf(listener.tls),
    };
  });
}

function sessionOf(given: GivenConfiguration["tls"]): Partial<SessionConfiguration> {
  const { sessionResumption, sessionSeconds } = given ?? {};
  return {
    ...(sessionResumption === undefined ? {} : { sessionResumption }),
    ...(sessionSeconds === undefined ? {} : { sessionSeconds }),
  };
}

/** What is dangerous in letting others than this machine use a listener, or `undefined`. */
function exposure({ address, anonymous }: ListenerConfiguration): string | undefined {
  const plain = !isTls(address);
  if (plain && anonymous) return "takes anonymous clients and is in plain text";
  if (plain) return "is in plain text";
  return anonymous ? "takes anonymous clients" : undefined;
}

/** What a listener says that does not go with the rest of it. */
function problemOf({
  address,
  anonymous,
  psk,
  origins,
  sealedPasswords,
  tls,
}: ListenerConfiguration):
  | { readonly key: "psk" | "origins" | "sealedPasswords" | "tls"; readonly reason: string }
  | undefined {
  const isWeb = address.kind === "ws" || address.kind === "wss";
  if (psk && !isTls(address))
    return { key: "psk", reason: "is for TLS: give the listener an mqtts:// or wss:// URL" };
  if (psk && anonymous)
    return { key: "psk", reason: "and anonymous contradict each other: a pre-shared key names its device" };
  if (psk && Object.keys(tls).length > 0)
    return {
      key: "tls",
      reason: "is about certificates' sessions: with psk: true nothing is resumed, and nothing needs to be",
    };
  if (Object.keys(tls).length > 0 && !isTls(address))
    return { key: "tls", reason: "is for mqtts:// and wss:// listeners" };
  if (sealedPasswords && (isTls(address) || address.kind === "unix"))
    return {
      key: "sealedPasswords",
      reason: "is for mqtt:// and ws:// listeners: elsewhere nobody on the way reads passwords",
    };
  if (sealedPasswords && anonymous)
    return {
      key: "sealedPasswords",
      reason: "and anonymous contradict each other: who sends none would be let in",
    };
  if (origins.length > 0 && !isWeb)
    return {
      key: "origins",
      reason: "is for ws:// and wss:// listeners: nothing else has web pages for clients",
    };
  return undefined;
}

/** @throws {ConfigError} for listeners that contradict each other or expose what nobody asked to expose. */
function checkListeners(listeners: readonly ListenerConfiguration[], { errorAt }: ConfigFile): void {
  const names = new Map<string, number>();
  const places = new Map<string, number>();
  for (const [index, listener] of listeners.entries()) {
    const { address, insecure, name } = listener;
    const danger = exposure(listener);
    if (address.kind !== "unix" && !isLoopback(address.host) && danger !== undefined && !insecure) {
      throw errorAt(
        ["listeners", index, "url"],
        `listeners[${index}] ${danger} on ${address.host}, which others than this machine can reach: add "insecure: true" beside it if that is meant, or use mqtts:// with certificates`,
      );
    }
    const problem = problemOf(listener);
    if (problem !== undefined) {
      throw errorAt(
        ["listeners", index, problem.key],
        `listeners[${index}].${problem.key} ${problem.reason}`,
      );
    }
    const place = address.kind === "unix" ? address.path : hostAndPort(address.host, address.port);
    const samePlace = place.endsWith(":0") ? undefined : places.get(place);
    if (samePlace !== undefined) {
      throw errorAt(
        ["listeners", index, "url"],
        `listeners[${index}] and listeners[${samePlace}] are both on ${place}`,
      );
    }
    const sameName = names.get(name);
    if (sameName !== undefined) {
      throw errorAt(
        ["listeners", index],
        `listeners[${index}] and listeners[${sameName}] have the same name "${name}"; give one a name of its own`,
      );
    }
    places.set(place, index);
    names.set(name, index);
  }
}

function listenerWarnings(listener: ListenerConfiguration, hidden: boolean): string[] {
  const { address, anonymous, insecure } = listener;
  const url = formatListenerUrl(address);
  const consequence = anonymous
    ? "anybody there can read and write every topic"
    : "whoever is on the way can read passwords and messages, and change them";
  const warnings: string[] = [];
  const danger = exposure(listener);
  if (address.kind !== "unix" && !isLoopback(address.host) && !(hidden && danger === undefined)) {
    warnings.push(
      danger === undefined
        ? unhidden(url)
        : `${url} can be reached from other machines and ${danger}: ${consequence}`,
    );
  }
  if (listener.sealedPasswords) {
    warnings.push(
      `${url} takes sealed passwords IN PLAIN TEXT: whoever is on the way can read and change everything else, take over a connection once it is open, and pretend to be this server; use mqtts:// wherever a device can`,
    );
  } else if (!isTls(address) && address.kind !== "unix" && !anonymous && !insecure) {
    warnings.push(
      `nobody can get in through ${url}: it is in plain text, where no certificate, password or token is looked at, and takes no anonymous clients`,
    );
  }
  return warnings;
}

function metricsOf({ metrics }: GivenConfiguration): Configuration["metrics"] {
  if (metrics?.url === "off") return undefined;
  if (metrics?.url === undefined)
    return { host: "127.0.0.1", port: defaultMetricsPort, required: false, insecure: false };
  return { ...parseHttpUrl(metrics.url), required: true, insecure: metrics.insecure ?? false };
}

/** Beside the default listeners on their address, beside others only where asked for. */
function estOf({ est = {}, listeners }: GivenConfiguration, bind: string): EstConfiguration | undefined {
  const { url, certificateDays = 30, renewalGraceDays = 30, sameKeyRenewal = false, hidden = true } = est;
  if (url === "off" || (url === undefined && listeners !== undefined)) return undefined;
  const place = url === undefined ? { host: bind, port: defaultEstPort } : parseHttpUrl(url);
  return { ...place, required: url !== undefined, certificateDays, renewalGraceDays, sameKeyRenewal, hidden };
}

function estWarnings(est: EstConfiguration | undefined, gate: GateConfiguration | undefined): string[] {
  if (est === undefined || isLoopback(est.host) || (gate !== undefined && est.hidden)) return [];
  const url = `https://${hostAndPort(est.host, est.port)}`;
  return [unhidden(url)];
}

function unhidden(url: string): string {
  return `${url} can be reached from other machines, and nothing hides it: "gate: {}" would`;
}

/** @throws {ConfigError} when EST is to be on a listener's port. */
function checkEst(
  est: EstConfiguration | undefined,
  listeners: readonly ListenerConfiguration[],
  { errorAt }: ConfigFile,
): void {
  if (est === undefined || est.port === 0) return;
  const { host, port } = est;
  const index = listeners.findIndex(
    ({ address }) => address.kind !== "unix" && address.host === host && address.port === port,
  );
  if (index >= 0)
    throw errorAt(["est", "url"], `est.url and listeners[${index}] are both on ${hostAndPort(host, port)}`);
}

const nothing: ConfigFile = {
  file: "",
  given: {},
  errorAt: (_path, problem) => {
    throw new Error(problem);
  },
};

/**
 * The configuration in force. `bind` is the address of the default listeners.
 * @throws {ConfigError} for what is well-formed but cannot be meant.
 */
export function resolveConfiguration(
  source: ConfigFile | undefined,
  options: { readonly bind?: string | undefined; readonly hidden?: boolean | undefined } = {},
): Configuration {
  const config = source ?? nothing;
  const { given, errorAt } = config;
  const gate = resolveGate(given.gate);
  const host = gate !== undefined && options.hidden === true ? "::" : "127.0.0.1";
  const listeners = givenListeners(config) ?? defaultListeners(options.bind ?? host);
  checkListeners(listeners, config);

  const tls: TlsConfiguration = {
    minVersion: given.tls?.minVersion ?? "1.2",
    maxVersion: given.tls?.maxVersion ?? "1.3",
    sessionResumption: given.tls?.sessionResumption ?? false,
    sessionSeconds: given.tls?.sessionSeconds ?? 3_600,
    mustStaple: given.tls?.mustStaple ?? false,
    certificate: given.tls?.certificate,
    key: given.tls?.key,
    ca: given.tls?.ca,
  };
  if (tls.minVersion > tls.maxVersion) {
    throw errorAt(
      ["tls", "minVersion"],
      `tls.minVersion ${tls.minVersion} is above tls.maxVersion ${tls.maxVersion}`,
    );
  }
  const files = [tls.certificate, tls.key, tls.ca].filter((file) => file !== undefined);
  if (files.length !== 0 && files.length !== 3) {
    throw errorAt(
      ["tls"],
      "tls.certificate, tls.key and tls.ca go together: what the server shows, its private key, and the authority that devices trust for it",
    );
  }
  const metrics = metricsOf(given);
  if (metrics !== undefined && !isLoopback(metrics.host) && !metrics.insecure) {
    throw errorAt(
      ["metrics", "url"],
      `metrics.url is on ${metrics.host}, which others than this machine can reach, and asks for no proof: add "insecure: true" beside it if that is meant`,
    );
  }
  const est = estOf(given, options.bind ?? "127.0.0.1");
  checkEst(est, listeners, config);
  return {
    file: source?.file,
    listeners,
    limits: given.limits ?? defaultLimits,
    workers: given.workers ?? "auto",
    names: given.names ?? [],
    tls,
    authentication: resolveAuthentication(config),
    log: { level: given.log?.level ?? "info", format: given.log?.format ?? "auto" },
    metrics,
    est,
    revocation: resolveRevocation(config),
    trustAnchors: resolveTrustAnchors(config),
    gate,
    data: given.data,
    serverReference: given.serverReference,
    responseInformation: given.responseInformation,
    warnings: [
      ...listeners.flatMap((listener) => listenerWarnings(listener, gate !== undefined)),
      ...estWarnings(est, gate),
      ...gateWarnings(gate),
    ],
  };
}
