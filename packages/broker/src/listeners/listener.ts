import { createServer as createNetServer, type AddressInfo, type Server, type Socket } from "node:net";

import type { BrokerContext } from "../context.ts";
import { limitsOfListener, type Limits, type ListenerLimits } from "../limits.ts";
import type { Peer, TlsMaterial } from "../ports.ts";
import type { Transport, TransportHandler } from "../transport.ts";
import type { Admission } from "./admission.ts";
import { peerOf, socketOptions } from "./peer.ts";
import { SocketTransport } from "./socket-transport.ts";
import { createTlsListener } from "./tls-listener.ts";
import { createWebSocketListener } from "./websocket-listener.ts";

export type ListenerKind = "mqtt" | "mqtts" | "ws" | "wss" | "unix";

export interface ListenerOptions {
  /** For logs, permissions and status. */
  readonly name: string;
  readonly kind: ListenerKind;
  /** Address to bind; for `unix` the socket's path. */
  readonly host: string;
  /** 0 for any free port; not used by `unix`. */
  readonly port: number;
  /** Clients need not prove who they are. */
  readonly anonymous: boolean;
  /** Secrets may be sent to it: see `Peer.confidential`. */
  readonly confidential: boolean;
  /** Limits of this listener alone. */
  readonly limits: ListenerLimits;
  /** Asked at start and at each `reloadTls`; needed by `mqtts` and `wss`. */
  readonly tls: (() => TlsMaterial) | undefined;
}

export interface RunningListener {
  readonly name: string;
  /** With the port that was really bound. */
  readonly url: string;
  /** 0 for a Unix socket. */
  readonly port: number;
  readonly connectionCount: number;
  /** Takes up new certificates; open connections stay. */
  reloadTls(): void;
  /** Stops accepting and resolves when no connection is left. Those of clients are the broker's to close. */
  close(): Promise<void>;
  /** Cuts what is still open: also connections that never came as far as MQTT. */
  cut(): void;
}

/** Makes the owner of a new connection. */
export type Accept = (transport: Transport, peer: Peer, limits: Limits) => TransportHandler;

/** What the servers of one listener are built from. */
export interface Wiring {
  readonly options: ListenerOptions;
  readonly limits: Limits;
  readonly context: BrokerContext;
  readonly accept: Accept;
}

/** A server, and how it takes up new certificates (nothing to do without TLS). */
export interface ListeningServer {
  readonly server: Server;
  readonly reloadTls: () => void;
}

/** More than a fleet's reconnect storm needs; the kernel caps it at net.core.somaxconn. */
const backlog = 4_096;

/** Binds and starts to accept; rejects with the system's error (`EADDRINUSE`, `EACCES`, …). */
export async function startListener(
  options: ListenerOptions,
  context: BrokerContext,
  admission: Admission,
  accept: Accept,
): Promise<RunningListener> {
  const limits = limitsOfListener(context.limits, options.limits);
  const { server, reloadTls } = create({ options, limits, context, accept });
  const sockets = new Set<Socket>();
  server.on("connection", (socket: Socket) => {
    const perLoopback = options.limits.connectionsPerAddressMax !== undefined;
    if (!admission.admit(socket, limits, perLoopback)) return;
    sockets.add(socket);
    socket.once("close", () => sockets.delete(socket));
  });
  await listening(server, options);
  const address = server.address();
  return {
    name: options.name,
    url: urlOf(options, address),
    port: typeof address === "object" && address !== null ? address.port : 0,
    get connectionCount() {
      return sockets.size;
    },
    reloadTls,
    close: () => closed(server),
    cut() {
      for (const socket of sockets) socket.destroy();
    },
  };
}

function create(wiring: Wiring): ListeningServer {
  switch (wiring.options.kind) {
    case "mqtt":
    case "unix":
      return {
        server: createNetServer(socketOptions, (socket) => acceptSocket(wiring, socket)),
        reloadTls() {},
      };
    case "mqtts":
      return createTlsListener(wiring, (socket) => acceptSocket(wiring, socket));
    case "ws":
    case "wss":
      return createWebSocketListener(wiring);
  }
}

function acceptSocket(wiring: Wiring, socket: Socket): void {
  const transport = new SocketTransport(socket);
  transport.attach(wiring.accept(transport, peerOf(wiring.options, socket), wiring.limits));
}

async function listening(server: Server, options: ListenerOptions): Promise<void> {
  const where = options.kind === "unix" ? { path: options.host } : { host: options.host, port: options.port };
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject);
    server.listen({ ...where, backlog }, () => {
      server.off("error", reject);
      resolve();
    });
  });
}

function closed(server: Server): Promise<void> {
  return new Promise((resolve) => {
    server.close(() => resolve());
  });
}

function urlOf(options: ListenerOptions, address: AddressInfo | string | null): string {
  if (typeof address === "string" || address === null) return `unix://${options.host}`;
  const host = address.family === "IPv6" ? `[${address.address}]` : address.address;
  return `${options.kind}://${host}:${address.port}`;
}
