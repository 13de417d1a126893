import { once } from "node:events";
import { connect, createServer, type Server, type Socket } from "node:net";

import { enterNetworkNamespace } from "./network-namespace.ts";

/** Addresses of the loopback network: one server and two hosts, in both families. */
export const loopbackNetwork = {
  server4: "10.77.0.1",
  server6: "fd77::1",
  ipv4: ["10.77.0.2", "10.77.0.3"],
  ipv6: ["fd77:0:0:2::1", "fd77:0:0:3::1"],
} as const;

/** Long enough for an answer on loopback, short enough to wait for: a hidden port does not answer. */
const patienceMs = 150;

/** Moves this process into a network that has all of `loopbackNetwork` on its loopback. */
export async function enterLoopbackNetwork(): Promise<void> {
  const { server4, server6, ipv4, ipv6 } = loopbackNetwork;
  await enterNetworkNamespace([
    ...[server4, ...ipv4].map((address) => `${address}/24`),
    ...[server6, ...ipv6].map((address) => `${address}/64`),
  ]);
}

export type ConnectOptions = { readonly from: string; readonly sourcePort?: number; readonly port: number };

/** A connection to the server's address of the family, or `undefined` when nothing answers. Rejects when something refuses. */
export async function tryConnect({ from, sourcePort, port }: ConnectOptions): Promise<Socket | undefined> {
  const socket = connect({
    host: from.includes(":") ? loopbackNetwork.server6 : loopbackNetwork.server4,
    port,
    localAddress: from,
    ...(sourcePort === undefined ? {} : { localPort: sourcePort }),
  });
  try {
    await once(socket, "connect", { signal: AbortSignal.timeout(patienceMs) });
    return socket;
  } catch (thrown) {
    socket.destroy();
    if (thrown instanceof Error && thrown.name === "AbortError") return undefined;
    throw thrown;
  }
}

/** Whether a connection is answered. */
export async function connects(options: ConnectOptions): Promise<boolean> {
  const socket = await tryConnect(options);
  socket?.destroy();
  return socket !== undefined;
}

/** A server on all addresses that gives back what it is sent. */
export interface EchoServer extends Disposable {
  readonly port: number;
}

export async function echoServer(): Promise<EchoServer> {
  const sockets = new Set<Socket>();
  const server: Server = createServer((socket) => {
    sockets.add(socket);
    socket
      .on("error", () => {})
      .on("close", () => sockets.delete(socket))
      .pipe(socket);
  }).listen(0, "::");
  await once(server, "listening");
  const address = server.address();
  if (typeof address !== "object" || address === null) throw new Error("no port");
  return {
    port: address.port,
    [Symbol.dispose]() {
      server.close();
      for (const socket of sockets) socket.destroy();
    },
  };
}

/** Whether what is written comes back. */
export async function echoes(socket: Socket): Promise<boolean> {
  socket.write("x");
  try {
    await once(socket, "data", { signal: AbortSignal.timeout(1_000) });
    return true;
  } catch {
    return false;
  }
}
