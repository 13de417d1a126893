import { createSocket, type Socket as DatagramSocket } from "node:dgram";
import { createServer, type Socket } from "node:net";

import { errorCode, errorText } from "@postern/core/errors";
import { parseIpAddress } from "@postern/knock/ip-address";
import type { KnockSource } from "@postern/knock/verdict";

import { GateListenError } from "./errors.ts";

/** What knocks may wait in, so that a flood does not push a valid one out while the process is busy. */
const receiveBufferBytes = 4_194_304;
/** A knock over TCP: connections at once, bytes of one, and how long it may take. */
const connectionsMax = 128;
const connectionBytesMax = 64;
const connectionMs = 3_000;

export type OnKnock = (bytes: Uint8Array, source: KnockSource) => void;

/** An open port. */
export interface KnockPort extends AsyncDisposable {
  readonly port: number;
}

/** Where to listen: `::` for IPv4 and IPv6, port 0 for any. */
export interface KnockAddress {
  readonly host: string;
  readonly port: number;
}

/** Listens for datagrams; never sends one. @throws {GateListenError} */
export async function listenUdp({ host, port }: KnockAddress, onKnock: OnKnock): Promise<KnockPort> {
  const bind = async (family: "udp4" | "udp6", at: string): Promise<DatagramSocket> => {
    const socket = createSocket({ type: family, reuseAddr: false });
    socket.on("message", (bytes, { address, port }) => {
      const from = parseIpAddress(address);
      if (from !== undefined) onKnock(bytes, { address: from, port });
    });
    await new Promise<void>((resolve, reject) => {
      socket.once("error", reject);
      socket.bind({ address: at, port }, resolve);
    });
    // Errors of a socket that only receives are answers to nothing: ICMP, a full buffer.
    socket.removeAllListeners("error").on("error", () => undefined);
    return socket;
  };
  let socket: DatagramSocket;
  try {
    socket = await bind(host.includes(":") ? "udp6" : "udp4", host).catch((thrown: unknown) => {
      // A kernel without IPv6.
      if (host === "::" && errorCode(thrown) === "EAFNOSUPPORT") return bind("udp4", "0.0.0.0");
      throw thrown;
    });
  } catch (thrown) {
    throw listenError("udp", { host, port }, thrown);
  }
  socket.setRecvBufferSize(receiveBufferBytes);
  return {
    port: socket.address().port,
    [Symbol.asyncDispose]: () =>
      new Promise((resolve) => {
        socket.close(() => resolve());
      }),
  };
}

/** Listens for the thesis's packet over TCP: what a client sends until it ends or falls silent. Never answers. @throws {GateListenError} */
export async function listenTcp({ host, port }: KnockAddress, onKnock: OnKnock): Promise<KnockPort> {
  const sockets = new Set<Socket>();
  const server = createServer((socket) => {
    const from = parseIpAddress(socket.remoteAddress ?? "");
    if (from === undefined || sockets.size >= connectionsMax) {
      socket.destroy();
      return;
    }
    sockets.add(socket);
    receive(socket, (bytes) => onKnock(bytes, { address: from, port: socket.remotePort ?? 0 }));
    socket.once("close", () => sockets.delete(socket));
  });
  try {
    await new Promise<void>((resolve, reject) => {
      server.once("error", reject);
      server.listen({ host, port, ipv6Only: false }, resolve);
    });
  } catch (thrown) {
    throw listenError("tcp", { host, port }, thrown);
  }
  const address = server.address();
  return {
    port: typeof address === "object" && address !== null ? address.port : port,
    [Symbol.asyncDispose]: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        for (const socket of sockets) socket.destroy();
      }),
  };
}

/** Hands over what came, once: 32 characters are a whole packet; clients that keep the connection open need not end it. */
function receive(socket: Socket, done: (bytes: Uint8Array) => void): void {
  let bytes = Buffer.alloc(0);
  let over = false;
  const finish = (): void => {
    if (over) return;
    over = true;
    socket.destroy();
    if (bytes.length > 0) done(bytes);
  };
  socket.setTimeout(connectionMs, finish);
  setTimeout(finish, connectionMs).unref();
  socket.on("error", finish);
  socket.on("end", finish);
  socket.on("close", finish);
  socket.on("data", (chunk) => {
    bytes = Buffer.concat([bytes, chunk.subarray(0, connectionBytesMax)]);
    if (bytes.length >= 32) finish();
  });
}

function listenError(protocol: string, { host, port }: KnockAddress, thrown: unknown): GateListenError {
  const taken =
    errorCode(thrown) === "EADDRINUSE" ? "; another program has it: stop it or choose another port" : "";
  return new GateListenError(
    `cannot listen for knocks on ${protocol} ${host} port ${port}: ${errorText(thrown)}${taken}`,
    {
      cause: thrown,
    },
  );
}
