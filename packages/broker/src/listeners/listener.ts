import {
  createServer as createNetServer,
  type AddressInfo,
  type ListenOptions,
  type Server,
  type Socket,
} from "node:net";
import { createServer as createTlsServer } from "node:tls";

import { limitsOfListener, type Limits, type ListenerLimits } from "../limits.ts";
import type { BrokerPorts, Peer, TlsMaterial } from "../ports.ts";
import type { Stats } from "../stats.ts";
import { type TimerWheel, WheelTimer } from "../timer-wheel.ts";
import type { Transport, TransportHandler } from "../transport.ts";
import type { Admitted, Door, Gate } from "./admission.ts";
import { LateKeepAlive } from "./late-keep-alive.ts";
import { peerOf, socketOptions } from "./peer.ts";
import type { PskAccess } from "./psk.ts";
import { SocketTransport } from "./socket-transport.ts";
import { TlsProtocol } from "./tls-listener.ts";
import type { Resumption, TlsSessions } from "./tls-sessions.ts";
import { createWebSocketProtocol } from "./websocket-listener.ts";

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
  /** See `Peer.sealedPasswords`. */
  readonly sealedPasswords?: boolean | undefined;
  /** Limits of this listener alone. */
  readonly limits: ListenerLimits;
  /** Asked at start and at each `reloadTls`; needed by `mqtts` and `wss`. */
  readonly tls: (() => TlsMaterial) | undefined;
  /** Lets TLS clients take up an earlier session. Not given, or with pre-shared keys: nobody does. */
  readonly resumption?: Resumption | undefined;
  /** TLS clients prove themselves by a pre-shared key; neither side has a certificate. */
  readonly psk?: PskAccess | undefined;
  /** The web pages (`https://host`, as browsers write their origin) whose scripts may connect by WebSocket; none unless given: see `mayOpen`. */
  readonly origins?: readonly string[] | undefined;
  /**
   * Other threads listen on the same port, and the kernel spreads connections over all sockets: so many sockets are listened on here,
   * for as many shares of them; more than one needs a `port`. Not given, or on a Unix socket: nobody else does.
   */
  readonly shares?: number | undefined;
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
  /** Nobody takes up a TLS session any more that began before: for when somebody's certificate was revoked. */
  dropTickets(): void;
  /** Stops accepting and resolves when no connection is left. Those of clients are the broker's to close. */
  close(): Promise<void>;
  /** Cuts what is still open: also connections that never came as far as MQTT. */
  cut(): void;
}

/** Makes the owner of a new connection, which calls `admitted.proven` once its client has shown who it is. */
export type Accept = (
  transport: Transport,
  peer: Peer,
  limits: Limits,
  admitted: Pick<Admitted, "proven">,
) => TransportHandler;

/** What listeners use of the broker around them. */
export interface ListenerContext {
  readonly limits: Limits;
  readonly wheel: TimerWheel;
  readonly stats: Pick<Stats, "connectRefused">;
  readonly ports: Pick<BrokerPorts, "log" | "audit">;
}

/** What a listener shares with the others of its broker. */
export interface ListenerHost {
  readonly context: ListenerContext;
  readonly admission: Door;
  readonly accept: Accept;
  /** The secrets of resumption, the same for all listeners that ask for the same. */
  sessionsFor(resumption: Resumption): TlsSessions;
}

/** What the servers of one listener are built from. */
export interface Wiring {
  readonly options: ListenerOptions;
  readonly limits: Limits;
  readonly context: ListenerContext;
  readonly sessions: TlsSessions | undefined;
  /** The connection that came through `entrance` has come as far as MQTT. */
  accept(transport: Transport, peer: Peer, entrance: Admitted): TransportHandler;
}

/** What is spoken below MQTT on a listener. */
export interface Protocol {
  /** Takes over a socket that nobody has read from. */
  take(entrance: Admitted): void;
  reloadTls(): void;
  dropTickets(): void;
  /** Lets go of timers; connections stay. */
  close(): void;
}

/** More than a fleet's reconnect storm needs; the kernel caps it at net.core.somaxconn. */
const backlog = 4_096;

/** Binds and starts to accept; rejects with the system's error (`EADDRINUSE`, `EACCES`, …). */
export async function startListener(options: ListenerOptions, host: ListenerHost): Promise<RunningListener> {
  const { context, admission } = host;
  const { limits, counted } = limitsAndGate(options, context.limits);
  /** How long those have who have not come as far as MQTT. */
  const begun = new Map<Socket, WheelTimer>();
  const settle = (socket: Socket): void => {
    const timer = begun.get(socket);
    if (timer === undefined) return;
    context.wheel.clear(timer);
    begun.delete(socket);
  };
  const resumption = options.psk === undefined ? options.resumption : undefined;
  const protocol = create({
    options,
    limits,
    context,
    sessions: resumption === undefined ? undefined : host.sessionsFor(resumption),
    accept(transport, peer, entrance) {
      settle(entrance.socket);
      return host.accept(transport, peer, limits, entrance);
    },
  });
  const sockets = new Set<Socket>();
  const keepAlive = new LateKeepAlive(context.wheel);
  const gate = {
    ...counted,
    start(entrance: Admitted) {
      if (!hasHandshake(options)) {
        protocol.take(entrance);
        return;
      }
      // TLS and HTTP have as long as CONNECT has after them.
      const timer = new WheelTimer(() => entrance.socket.destroy());
      begun.set(entrance.socket, timer);
      context.wheel.set(timer, limits.connectTimeoutSeconds * 1_000);
      protocol.take(entrance);
    },
  };
  // Nothing is read from a connection before its turn.
  const createServer = (): Server =>
    createNetServer({ ...socketOptions, pauseOnConnect: true }, (socket) => {
      if (!admission.enter(socket, gate)) return;
      sockets.add(socket);
      keepAlive.add(socket);
      socket.on("close", () => {
        sockets.delete(socket);
        keepAlive.delete(socket);
        settle(socket);
      });
    });
  const server = createServer();
  const servers = [server];
  while (servers.length < (options.shares ?? 1)) servers.push(createServer());
  try {
    for (const each of servers) await listen(each, placeOf(options));
  } catch (thrown) {
    for (const each of servers) each.close();
    throw thrown;
  }
  const address = server.address();
  return {
    name: options.name,
    url: urlOf(options, address),
    port: typeof address === "object" && address !== null ? address.port : 0,
    get connectionCount() {
      return sockets.size;
    },
    reloadTls: () => protocol.reloadTls(),
    dropTickets: () => protocol.dropTickets(),
    async close() {
      await Promise.all(servers.map(closed));
      protocol.close();
    },
    cut() {
      for (const socket of sockets) socket.destroy();
    },
  };
}

/** Whether something else comes before MQTT. */
function hasHandshake({ kind }: ListenerOptions): boolean {
  return kind !== "mqtt" && kind !== "unix";
}

/** The limits of a listener, and how its connections are counted. */
export function limitsAndGate(
  { name, limits: own }: Pick<ListenerOptions, "name" | "limits">,
  overall: Limits,
): { readonly limits: Limits; readonly counted: Omit<Gate, "start"> } {
  const limits = limitsOfListener(overall, own);
  const { connectionsPerAddressMax, halfOpenPerAddressMax, connectionsPerSecondPerAddressMax } = own;
  const countsLoopback =
    (connectionsPerAddressMax ?? halfOpenPerAddressMax ?? connectionsPerSecondPerAddressMax) !== undefined;
  return { limits, counted: { name, limits, countsLoopback } };
}

function create(wiring: Wiring): Protocol {
  switch (wiring.options.kind) {
    case "mqtt":
    case "unix":
      return plainProtocol(wiring);
    case "mqtts": {
      const protocol: TlsProtocol = new TlsProtocol(wiring, (options) =>
        createTlsServer(options, (socket) => {
          const entrance = protocol.entranceOf(socket);
          if (entrance !== undefined) acceptSocket(wiring, socket, entrance, protocol.psk?.claimedBy(socket));
        }),
      );
      return protocol;
    }
    case "ws":
    case "wss":
      return createWebSocketProtocol(wiring);
  }
}

function plainProtocol(wiring: Wiring): Protocol {
  return {
    take: (entrance) => acceptSocket(wiring, entrance.socket, entrance, undefined),
    reloadTls() {},
    dropTickets() {},
    close() {},
  };
}

function acceptSocket(
  wiring: Wiring,
  socket: Socket,
  entrance: Admitted,
  pskIdentity: string | undefined,
): void {
  const transport = new SocketTransport(socket);
  transport.attach(wiring.accept(transport, peerOf(wiring.options, socket, pskIdentity), entrance));
  socket.resume();
}

function placeOf({ kind, host, port, shares = 0 }: ListenerOptions): ListenOptions {
  return kind === "unix" ? { path: host, backlog } : { host, port, backlog, reusePort: shares > 0 };
}

function listen(server: Server, options: ListenOptions): Promise<void> {
  return new Promise<void>((resolve, reject) => {
    server.once("error", reject);
    server.listen(options, () => {
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
