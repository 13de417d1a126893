import { connect as connectTcp, type Socket } from "node:net";
import { connect as connectTls, type ConnectionOptions, type TLSSocket } from "node:tls";

import { encodeConnect } from "@postern/mqtt/connect";
import { noProperties } from "@postern/mqtt/packets";

import { firstBundle } from "./postern.ts";

/** What came of a connection. */
export interface Outcome {
  readonly received: Buffer;
  readonly error: string | undefined;
  readonly openMs: number;
}

/** Gathers what a socket receives until the other side closes it; cuts it after `patienceMs` and says so. */
export function untilClosed(socket: Socket, patienceMs = 15_000): Promise<Outcome> {
  const startMs = performance.now();
  const chunks: Buffer[] = [];
  let error: string | undefined;
  socket.on("data", (chunk: Buffer) => chunks.push(chunk));
  socket.on("error", (thrown: Error & { code?: string }) => (error ??= thrown.code ?? thrown.message));
  return new Promise((resolve) => {
    const timer = setTimeout(() => {
      error ??= "still open";
      socket.destroy();
    }, patienceMs);
    socket.once("end", () => socket.end());
    socket.once("close", () => {
      clearTimeout(timer);
      resolve({ received: Buffer.concat(chunks), error, openMs: performance.now() - startMs });
    });
  });
}

/** Sends bytes over TCP and waits until the server closes. */
export function sendPlain(port: number, ...pieces: readonly (string | Uint8Array)[]): Promise<Outcome> {
  const socket = connectTcp({ host: "127.0.0.1", port });
  const outcome = untilClosed(socket);
  for (const piece of pieces) socket.write(piece);
  return outcome;
}

/** A TLS connection of the server's first device, or without its certificate. */
export async function secured(
  data: string,
  port: number,
  options: ConnectionOptions & { readonly withCertificate?: boolean } = {},
): Promise<TLSSocket> {
  const { ca, certificate, key } = firstBundle(data);
  const { withCertificate = true, ...own } = options;
  const credentials = withCertificate ? { cert: certificate, key } : {};
  const socket = connectTls({ host: "127.0.0.1", port, ca, ...credentials, ...own });
  await new Promise((resolve, reject) => {
    socket.once("secureConnect", resolve);
    socket.once("error", reject);
  });
  socket.on("error", () => {});
  return socket;
}

/** A CONNECT of MQTT 5 or 3.1.1 with a clean session. */
export function connectBytes(clientId: string, version: 4 | 5 = 5, keepAliveSeconds = 600): Buffer {
  return encodeConnect({
    protocolVersion: version,
    cleanStart: true,
    keepAliveSeconds,
    clientId,
    username: undefined,
    password: undefined,
    will: undefined,
    properties: noProperties,
  });
}

/** The reason code (MQTT 5) or return code of the CONNACK that comes next; `undefined` when the connection closes instead. */
export function connackCode(socket: Socket): Promise<number | undefined> {
  return new Promise((resolve) => {
    socket.once("data", (bytes: Buffer) => resolve(bytes[0] === 0x20 ? bytes[3] : undefined));
    socket.once("close", () => resolve(undefined));
  });
}

/** Connects in MQTT and returns CONNACK's code. */
export function connectMqtt(
  socket: Socket,
  clientId: string,
  version: 4 | 5 = 5,
): Promise<number | undefined> {
  const code = connackCode(socket);
  socket.write(connectBytes(clientId, version));
  return code;
}

export function portOf(url: string | undefined): number {
  const { port, protocol } = new URL(url ?? "");
  return Number(port === "" ? { "wss:": 443, "ws:": 80 }[protocol] : port);
}
