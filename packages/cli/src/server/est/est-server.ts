import type { Server } from "node:https";
import type { Socket } from "node:net";
import type { SecureContextOptions } from "node:tls";

import Fastify, { type FastifyError, type FastifyInstance } from "fastify";

import type { Clock } from "@postern/core/clock";
import { errorCode, errorText } from "@postern/core/errors";
import { hostAndPort } from "@postern/core/host";
import type { Log } from "@postern/core/log";
import { DataDirectoryError } from "@postern/identity/errors";

import { channelOf } from "./channel.ts";
import { estRoutes, type EstPorts } from "./est-routes.ts";
import { Throttle } from "./throttle.ts";

/** A certification request in base64, or in PEM with words around it. */
const bodyBytesMax = 16_384;
const connectionsMax = 512;
const requestsPerConnectionMax = 100;
/** A connection that says nothing, a handshake that is not finished, a request that does not end. */
const idleMs = 15_000;
const handshakeMs = 5_000;
const requestMs = 10_000;
const checkingMs = 1_000;

export type EstApp = FastifyInstance<Server>;

const authoritiesPath = "/.well-known/est/cacerts";

export interface EstServerOptions {
  readonly host: string;
  readonly port: number;
  /** What TLS shows, as it is now. */
  readonly tls: () => SecureContextOptions;
  readonly clock: Clock;
  readonly log: Log;
  /** Where a gate hides this server: who may come, asked for each connection and again when TLS has shown a certificate. */
  readonly door?:
    | {
        mayConnect(address: string): boolean;
        mayEnrol(address: string, certificate: Uint8Array | undefined): boolean;
      }
    | undefined;
}

export interface EstServer extends AsyncDisposable {
  readonly url: string;
  /** Shows new connections the certificate as it is now. */
  reloadTls(): void;
}

const mends: Readonly<Record<string, string>> = {
  FST_ERR_CTP_INVALID_MEDIA_TYPE: "send the certification request as Content-Type: application/pkcs10",
  FST_ERR_CTP_BODY_TOO_LARGE: `a certification request has at most ${bodyBytesMax} bytes`,
};

function handleErrors(app: EstApp, log: Log): void {
  app.setNotFoundHandler((_request, reply) =>
    reply.status(404).type("text/plain").send("there is no such service here: see RFC 7030 §3.2.2\n"),
  );
  app.setErrorHandler((thrown: FastifyError, _request, reply) => {
    const status = thrown.statusCode ?? 500;
    if (status < 500) {
      const text = mends[errorCode(thrown) ?? ""] ?? "this request cannot be understood";
      return reply.status(status).type("text/plain").send(`${text}\n`);
    }
    log.error({ error: errorText(thrown) }, "a request for a certificate could not be answered");
    const full = thrown instanceof DataDirectoryError;
    if (full) void reply.header("retry-after", "60");
    return reply
      .status(full ? 503 : 500)
      .type("text/plain")
      .send(full ? "the server cannot write to its disk; try again later\n" : "the server failed\n");
  });
}

/**
 * Enrolment over Secure Transport (RFC 7030): HTTPS on a port of its own. Clients may show a certificate; what it proves is decided from
 * its bytes. @throws the system's error when the address cannot be bound.
 */
export async function startEstServer(
  { host, port, tls, clock, log, door }: EstServerOptions,
  ports: EstPorts,
): Promise<EstServer> {
  const app = Fastify({
    https: {
      ...tls(),
      requestCert: true,
      rejectUnauthorized: false,
      handshakeTimeout: handshakeMs,
      // How soon it is seen that a request takes too long.
      connectionsCheckingInterval: checkingMs,
    },
    logger: false,
    bodyLimit: bodyBytesMax,
    requestTimeout: requestMs,
    connectionTimeout: idleMs,
    keepAliveTimeout: idleMs,
    maxRequestsPerSocket: requestsPerConnectionMax,
    forceCloseConnections: true,
  });
  app.server.maxConnections = connectionsMax;
  // Node exchanges the two where this one is the longer, which is its default.
  app.server.headersTimeout = requestMs;
  app.server.on("tlsClientError", (error) => log.debug({ error: error.message }, "TLS handshake failed"));
  app.removeAllContentTypeParsers();
  app.addContentTypeParser("application/pkcs10", { parseAs: "buffer" }, (_request, body, done) =>
    done(null, body),
  );
  app.server.on("connection", (socket: Socket) => {
    if (door?.mayConnect(socket.remoteAddress ?? "") === false) socket.destroy();
  });
  app.addHook("onRequest", async (request, reply) => {
    if (door === undefined) return;
    const { address, certificate } = channelOf(request.raw.socket);
    // A device that renews asks for these without its certificate. They are no secret: TLS has shown them already.
    if (certificate === undefined && request.url === authoritiesPath && door.mayConnect(address)) return;
    if (door.mayEnrol(address, certificate)) return;
    await reply.status(403).type("text/plain").send("this device did not knock from this address\n");
  });
  const throttle = new Throttle(clock);
  app.addHook("onRequest", async (request, reply) => {
    const waitSeconds = throttle.request(request.raw.socket.remoteAddress ?? "");
    if (waitSeconds === undefined) return;
    await reply
      .status(429)
      .header("retry-after", String(waitSeconds))
      .type("text/plain")
      .send("too many requests from this address; try again later\n");
  });
  handleErrors(app, log);
  estRoutes(app, ports);
  await app.listen({ host, port });
  const address = app.server.address();
  const bound = typeof address === "object" && address !== null ? address : { address: host, port };
  return {
    url: `https://${hostAndPort(bound.address, bound.port)}`,
    reloadTls: () => app.server.setSecureContext(tls()),
    [Symbol.asyncDispose]: () => app.close(),
  };
}
