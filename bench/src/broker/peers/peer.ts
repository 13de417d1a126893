import type { Target } from "../load/job.ts";

export type Transport = "tcp" | "tls" | "ws" | "wss";

/** What the scenarios ask of a broker that not every broker has. */
export interface Needs {
  readonly transport: Transport;
  readonly version: 4 | 5;
  readonly qos: 0 | 1 | 2;
  readonly shared: boolean;
  /** TLS sessions may be taken up again. */
  readonly resumption: boolean;
}

/** Something that is measured: a broker, or the relay. */
export interface Peer extends AsyncDisposable {
  readonly name: string;
  /** Name and version, as it says itself. */
  readonly version: string;
  readonly pids: readonly number[];
  /** Where to reach it; `undefined` when it does not offer that. */
  targetFor(needs: Needs): Target | undefined;
}

/** Files that all peers share: the same certificates, so that TLS is the same work. */
export interface Certificates {
  /** The server's key and certificates. */
  readonly server: string;
  readonly ca: string;
  readonly clientCertificate: string;
  readonly clientKey: string;
}

/** Ports on loopback; 0 is none. */
export type Ports = Readonly<Record<Transport, number>>;

/** The target on one of the ports; `undefined` where there is none. */
export function targetOn(
  ports: Ports,
  { transport }: Needs,
  parts: {
    readonly certificates: Certificates;
    readonly pids: readonly number[];
    readonly speaks?: Target["speaks"];
  },
): Target | undefined {
  const { certificates, pids, speaks = "mqtt" } = parts;
  const port = ports[transport];
  if (port === 0) return undefined;
  const secure = transport === "tls" || transport === "wss";
  return {
    host: "127.0.0.1",
    port,
    webSocket: transport === "ws" || transport === "wss",
    speaks,
    pids: [...pids],
    ...(secure
      ? {
          tls: {
            ca: certificates.ca,
            cert: certificates.clientCertificate,
            key: certificates.clientKey,
          },
        }
      : {}),
  };
}
