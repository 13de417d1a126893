import type { IncomingMessage, Server } from "node:http";
import { createServer as createHttpsServer } from "node:https";
import type { Duplex } from "node:stream";
import { Socket } from "node:net";
import { TLSSocket } from "node:tls";

import { type WebSocket, WebSocketServer } from "ws";

import { createServer as createHttpServer } from "../http.ts";
import type { TransportHandler } from "../transport.ts";
import type { Admitted } from "./admission.ts";
import type { Protocol, Wiring } from "./listener.ts";
import { mayOpen } from "./origin.ts";
import { peerOf, socketOptions } from "./peer.ts";
import { TlsProtocol } from "./tls-listener.ts";
import { WebSocketTransport } from "./websocket-transport.ts";

const headerBytesMax = 8_192;
/** A frame may hold several packets: what it may have beyond the largest of them. */
const batchBytesMax = 65_536;
/** What WebSocket framing may add to a CONNECT before it counts as too much. */
const framingBytesMax = 1_024;
/** Frames that one message may come in, and pieces of them that wait to be put together: each costs far more memory than its bytes. */
const fragmentsMax = 1_024;
const chunksMax = 16_384;
/** @see MQTT 5.0 §6 [MQTT-6.0.0-3]; `mqttv3.1` is what clients of MQTT 3.1 ask for */
const subprotocols = ["mqtt", "mqttv3.1"];

/** What is known of a connection below HTTP. */
interface Below {
  readonly entrance: Admitted;
  readonly pskIdentity: string | undefined;
}

/** MQTT over WebSocket, plain or over TLS. @see MQTT 5.0 §6 */
export function createWebSocketProtocol(wiring: Wiring): Protocol {
  if (wiring.options.kind === "wss") {
    const protocol: TlsProtocol = new TlsProtocol(wiring, (options) => {
      const server = createHttpsServer({
        ...options,
        maxHeaderSize: headerBytesMax,
        keepAliveTimeout: 1_000,
      });
      serve(wiring, server, (socket) => {
        if (!(socket instanceof TLSSocket)) return undefined;
        const entrance = protocol.entranceOf(socket);
        return entrance && { entrance, pskIdentity: protocol.psk?.claimedBy(socket) };
      });
      return server;
    });
    return protocol;
  }
  const entrances = new WeakMap<Socket, Below>();
  const server = createHttpServer({
    ...socketOptions,
    maxHeaderSize: headerBytesMax,
    keepAliveTimeout: 1_000,
  });
  serve(wiring, server, (socket) => entrances.get(socket));
  return {
    take(entrance) {
      entrances.set(entrance.socket, { entrance, pskIdentity: undefined });
      server.emit("connection", entrance.socket);
      entrance.socket.resume();
    },
    reloadTls() {},
    dropTickets() {},
    close() {},
  };
}

function serve(wiring: Wiring, server: Server, belowOf: (socket: Socket) => Below | undefined): void {
  const { options, limits, context } = wiring;
  const webSockets = new WebSocketServer({
    noServer: true,
    clientTracking: false,
    perMessageDeflate: false,
    // Pings are answered where it can be seen how many they are.
    autoPong: false,
    maxPayload: limits.packetBytesMax + batchBytesMax,
    maxFragments: fragmentsMax,
    maxBufferedChunks: chunksMax,
    handleProtocols: (offered) => subprotocols.find((name) => offered.has(name)) ?? false,
  });
  server.on("request", (_request, response) => {
    response.writeHead(426, { connection: "close", upgrade: "websocket" }).end();
  });
  server.on("upgrade", (request: IncomingMessage, socket: Duplex, head: Buffer) => {
    socket.on("error", () => socket.destroy());
    const below = socket instanceof Socket ? belowOf(socket) : undefined;
    if (!(socket instanceof Socket) || below === undefined) {
      socket.destroy();
      return;
    }
    if (!offersMqtt(request)) {
      refuse(socket, "400 Bad Request", "the subprotocol mqtt is not offered");
      return;
    }
    const { origin, host } = request.headers;
    const tls = options.kind === "wss";
    if (origin !== undefined && !mayOpen({ origin, host, tls, listed: options.origins ?? [] })) {
      context.ports.log.warn(
        { origin, listener: options.name },
        "a web page may not connect: its origin is not listed",
      );
      refuse(socket, "403 Forbidden", "this origin is not listed under origins of the listener");
      return;
    }
    webSockets.handleUpgrade(request, socket, head, (webSocket) => {
      const transport = new WebSocketTransport(webSocket);
      const peer = peerOf(options, socket, below.pskIdentity);
      const handler = wiring.accept(transport, peer, below.entrance);
      transport.attach(handler);
      limitGathered(socket, handler, webSocket);
    });
  });
}

function refuse(socket: Socket, status: string, reason: string): void {
  // Half of a connection is let go, too, when the other side keeps its own half open.
  socket.once("finish", () => socket.destroy());
  socket.end(
    `HTTP/1.1 ${status}\r\nConnection: close\r\nContent-Type: text/plain\r\nContent-Length: ${reason.length + 1}\r\n\r\n${reason}\n`,
  );
}

/**
 * Looks at what is gathered until a message is complete, in whatever frames it comes: before CONNECT no more than a CONNECT may have,
 * then what all connections together may hold.
 */
function limitGathered(socket: Socket, handler: TransportHandler, webSocket: WebSocket): void {
  let before = socket.bytesRead;
  let gathered = 0;
  const look = (): void => {
    const bytes = socket.bytesRead - before;
    if (!handler.awaitsConnect) {
      handler.onGathered(bytes - gathered);
      gathered = bytes;
    } else if (bytes > handler.packetBytesMax + framingBytesMax) {
      webSocket.terminate();
    }
  };
  socket.on("data", look);
  // What has come of the next message is in the same chunk, or counted with the one that follows.
  webSocket.on("message", () => {
    if (handler.awaitsConnect) return;
    before = socket.bytesRead;
    handler.onGathered(-gathered);
    gathered = 0;
  });
  webSocket.once("close", () => {
    socket.off("data", look);
    handler.onGathered(-gathered);
  });
}

function offersMqtt(request: IncomingMessage): boolean {
  const offered = request.headers["sec-websocket-protocol"]?.split(",").map((name) => name.trim()) ?? [];
  return subprotocols.some((name) => offered.includes(name));
}
