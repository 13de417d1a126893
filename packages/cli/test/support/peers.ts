import { createServer, type Server, type Socket } from "node:net";
import { createServer as createTlsServer, type TlsOptions } from "node:tls";

/** A server of bytes on loopback, gone when the scope ends. */
export interface Peer extends AsyncDisposable {
  readonly port: number;
}

async function listening(server: Server): Promise<Peer> {
  const sockets = new Set<Socket>();
  server.on("connection", (socket: Socket) => {
    sockets.add(socket);
    socket.on("error", () => {});
    socket.on("close", () => sockets.delete(socket));
  });
  server.listen(0, "127.0.0.1");
  await new Promise((resolve) => server.once("listening", resolve));
  const address = server.address();
  if (address === null || typeof address === "string") throw new Error("no port");
  return {
    port: address.port,
    [Symbol.asyncDispose]: async () => {
      const closed = new Promise((resolve) => server.close(resolve));
      for (const socket of sockets) socket.destroy();
      await closed;
    },
  };
}

/** What a server does with a connection. */
export type Behaviour = (socket: Socket) => void;

/** Answers the first bytes with these, or closes when there are none. */
export function answers(...bytes: readonly number[]): Behaviour {
  return (socket) => {
    socket.once("data", () => (bytes.length === 0 ? socket.end() : socket.write(Buffer.from(bytes))));
  };
}

export function startPeer(behaviour: Behaviour): Promise<Peer> {
  return listening(createServer(behaviour));
}

/** A server that answers in TLS and then says CONNACK 0 (MQTT 5) to whatever comes. */
export function startTlsPeer(options: TlsOptions): Promise<Peer> {
  const server = createTlsServer(options, answers(0x20, 0x03, 0x00, 0x00, 0x00));
  server.on("tlsClientError", () => {});
  return listening(server);
}
