import { createServer as createHttpServer, type IncomingMessage, type Server } from "node:http";
import { createServer as createHttpsServer } from "node:https";
import type { Duplex } from "node:stream";
import { Socket } from "node:net";

import { type WebSocket, WebSocketServer } from "ws";

import type { TransportHandler } from "../transport.ts";
import type { ListeningServer, Wiring } from "./listener.ts";
import { peerOf, socketOptions } from "./peer.ts";
import { tlsOptions } from "./tls-listener.ts";
import { WebSocketTransport } from "./websocket-transport.ts";

const headerBytesMax = 8_192;
/** A frame may hold several packets: what it may have beyond the largest of them. */
const batchBytesMax = 65_536;
/** What WebSocket framing may add to a CONNECT before it counts as too much. */
const framingBytesMax = 1_024;
/** @see MQTT 5.0 §6 [MQTT-6.0.0-3]; `mqttv3.1` is what clients of MQTT 3.1 ask for */
const subprotocols = ["mqtt", "mqttv3.1"];

/** MQTT over WebSocket, plain or over TLS. @see MQTT 5.0 §6 */
export function createWebSocketListener(wiring: Wiring): ListeningServer {
  const { options } = wiring;
  if (options.kind !== "wss") {
    const server = createHttpServer({ ...socketOptions, ...httpOptions(wiring) });
    serve(wiring, server);
    return { server, reloadTls() {} };
  }
  const server = createHttpsServer({ ...tlsOptions(wiring), ...httpOptions(wiring) });
  serve(wiring, server);
  server.on("tlsClientError", (_error, socket) => socket.destroy());
  return {
    server,
    reloadTls() {
      if (options.tls !== undefined) server.setSecureContext(options.tls().context);
    },
  };
}

function httpOptions({ limits }: Wiring) {
  const timeoutMs = limits.connectTimeoutSeconds * 1_000;
  return {
    maxHeaderSize: headerBytesMax,
    headersTimeout: timeoutMs,
    requestTimeout: timeoutMs,
    connectionsCheckingInterval: 1_000,
    keepAliveTimeout: 1_000,
  };
}

function serve(wiring: Wiring, server: Server): void {
  const webSockets = new WebSocketServer({
    noServer: true,
    clientTracking: false,
    perMessageDeflate: false,
    maxPayload: wiring.limits.packetBytesMax + batchBytesMax,
    handleProtocols: (offered) => subprotocols.find((name) => offered.has(name)) ?? false,
  });
  server.on("request", (_request, response) => {
    response.writeHead(426, { connection: "close", upgrade: "websocket" }).end();
  });
  server.on("upgrade", (request: IncomingMessage, socket: Duplex, head: Buffer) => {
    socket.on("error", () => socket.destroy());
    if (!(socket instanceof Socket) || !offersMqtt(request)) {
      // Half of a connection is let go, too, when the other side keeps its own half open.
      socket.once("finish", () => socket.destroy());
      socket.end("HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Length: 0\r\n\r\n");
      return;
    }
    webSockets.handleUpgrade(request, socket, head, (webSocket) => {
      const transport = new WebSocketTransport(webSocket);
      const handler = wiring.accept(transport, peerOf(wiring.options, socket), wiring.limits);
      transport.attach(handler);
      limitUntilConnect(socket, handler, webSocket);
    });
  });
}

/** Cuts a client that sends more than a CONNECT may have, in whatever frames, before its CONNECT is complete. */
function limitUntilConnect(socket: Socket, handler: TransportHandler, webSocket: WebSocket): void {
  const before = socket.bytesRead;
  const check = (): void => {
    if (!handler.awaitsConnect) socket.off("data", check);
    else if (socket.bytesRead - before > handler.packetBytesMax + framingBytesMax) webSocket.terminate();
  };
  socket.on("data", check);
}

function offersMqtt(request: IncomingMessage): boolean {
  const offered = request.headers["sec-websocket-protocol"]?.split(",").map((name) => name.trim()) ?? [];
  return subprotocols.some((name) => offered.includes(name));
}
