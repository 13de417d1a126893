import { connect as connectTcp, isIP, type Socket } from "node:net";
import type { Duplex } from "node:stream";
import { connect as connectTls, type ConnectionOptions, type TLSSocket } from "node:tls";

import { WebSocket, createWebSocketStream } from "ws";

import type { PreSharedKey, TlsCredentials } from "./credentials.ts";
import { KnockingSocket } from "./knocking-socket.ts";
import type { ConnectSettings } from "./settings.ts";
import { StapleCheck, type StaplePolicy } from "./staple-check.ts";
import type { Target } from "./target.ts";

/** The code of the error when a server does not prove that it has the pre-shared key. */
export const certificateInstead = "POSTERN_CERTIFICATE_INSTEAD_OF_PSK";

/** How far a connection came: to find out what to say when nothing more happens. */
export type TransportPhase = "connecting" | "securing" | "open";

/** A connection of bytes; `stream` emits `error` when it cannot be made. */
export interface Transport {
  readonly stream: Duplex;
  phase(): TransportPhase;
  /** The server said which address it sees us come from; for the next knock. */
  seenFrom?(address: string): void;
}

/** The largest MQTT packet, which may come as one WebSocket message. */
const messageBytesMax = 268_435_460;

interface SecurePlace {
  readonly host: string;
  readonly port: number;
  readonly hidden: KnockingSocket | undefined;
  readonly policy: StaplePolicy | undefined;
}

/** Begins TLS. Everything is set here so that neither the environment (NODE_TLS_REJECT_UNAUTHORIZED) nor a default of the runtime decides. */
function connectSecurely(tls: TlsCredentials, { host, port, hidden, policy }: SecurePlace): TLSSocket {
  const staple = new StapleCheck(policy);
  const where = hidden === undefined ? { host, port } : { host, port, socket: hidden };
  const socket = connectTls({ ...tlsOptions(tls, host, staple), ...where });
  staple.listen(socket);
  return socket;
}

function tlsOptions(
  { ca, cert, key, psk }: TlsCredentials,
  host: string,
  staple: StapleCheck,
): ConnectionOptions {
  if (psk !== undefined) return { ...pskOptions(psk), rejectUnauthorized: true, minVersion: "TLSv1.2" };
  return {
    ...(ca === undefined ? {} : { ca }),
    ...(cert === undefined ? {} : { cert }),
    ...(key === undefined ? {} : { key }),
    // A name is sent for virtual hosts; an address must not be. @see RFC 6066 §3
    ...(isIP(host) === 0 ? { servername: host } : {}),
    requestOCSP: true,
    checkServerIdentity: staple.checkServerIdentity,
    rejectUnauthorized: true,
    minVersion: "TLSv1.2",
  };
}

/** The AEADs of TLS 1.3 with SHA-256, which is what a key that is only a key goes with, and the one of TLS 1.2 with ECDHE. */
const pskCiphers = [
  "TLS_AES_128_GCM_SHA256",
  "TLS_CHACHA20_POLY1305_SHA256",
  "ECDHE-PSK-CHACHA20-POLY1305",
].join(":");

/** A server that has the key proves by that who it is; one that comes with a certificate instead is not the one that was meant. */
function pskOptions({ identity, key }: PreSharedKey): ConnectionOptions {
  return {
    ciphers: pskCiphers,
    pskCallback: () => ({ identity, psk: key }),
    // Nobody's certificate is trusted.
    ca: [],
    checkServerIdentity: (_host, { raw }) =>
      raw === undefined
        ? undefined
        : Object.assign(new Error("a certificate instead of the pre-shared key"), {
            code: certificateInstead,
          }),
  };
}

function plainTransport(socket: Socket): Transport {
  let phase: TransportPhase = "connecting";
  socket.once("connect", () => (phase = "open"));
  return { stream: socket, phase: () => phase };
}

/** Begins a connection to `target`. With `tls.ca` nothing else is trusted, and the server's name is always checked. */
export function openTransport(
  target: Target,
  {
    tls,
    protocolVersion: version,
    knock,
    staple: policy,
  }: Pick<ConnectSettings, "tls" | "protocolVersion" | "knock" | "staple">,
): Transport {
  let phase: TransportPhase = "connecting";
  const hidden =
    knock !== undefined && (target.kind === "tls" || target.kind === "wss")
      ? new KnockingSocket(target.host, target.port, knock)
      : undefined;
  switch (target.kind) {
    case "tcp":
      return plainTransport(connectTcp({ host: target.host, port: target.port, noDelay: true }));
    case "unix":
      return plainTransport(connectTcp({ path: target.path }));
    case "tls": {
      const { host, port } = target;
      const socket = connectSecurely(tls, { host, port, hidden, policy });
      if (hidden === undefined) socket.setNoDelay(true);
      (hidden ?? socket).once("connect", () => (phase = "securing"));
      hidden?.once("error", (error) => socket.destroy(error));
      socket.once("secureConnect", () => (phase = "open"));
      return { stream: socket, phase: () => phase, seenFrom: (address) => hidden?.seenFrom(address) };
    }
    case "ws":
    case "wss": {
      // @see MQTT 5.0 §6 [MQTT-6.0.0-4]; MQTT 3.1 had a name of its own.
      const webSocket = new WebSocket(target.url, [version === 3 ? "mqttv3.1" : "mqtt"], {
        ...(target.kind === "wss"
          ? { createConnection: () => connectSecurely(tls, { ...target, hidden, policy }) }
          : {}),
        perMessageDeflate: false,
        maxPayload: messageBytesMax,
        followRedirects: false,
      });
      webSocket.once("open", () => (phase = "open"));
      return {
        stream: createWebSocketStream(webSocket),
        phase: () => phase,
        seenFrom: (address) => hidden?.seenFrom(address),
      };
    }
    default:
      return target satisfies never;
  }
}
