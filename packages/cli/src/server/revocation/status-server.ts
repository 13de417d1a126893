import Fastify, { type FastifyError, type FastifyInstance, type FastifyReply } from "fastify";

import type { Clock } from "@postern/core/clock";
import { errorText } from "@postern/core/errors";
import { hostAndPort } from "@postern/core/host";
import type { Log } from "@postern/core/log";
import type { OcspReply } from "@postern/identity/revocation/ocsp-responder";

import { Throttle } from "../est/throttle.ts";
import { ocspPath } from "./status-urls.ts";

/** An OCSP request about one certificate has 80 to 120 bytes, with a nonce 160. */
const bodyBytesMax = 4_096;
/** The same in base64, each byte written as %XX at worst. @see RFC 5019 §5: a GET has 255 bytes at most */
const pathCharactersMax = 4_096;
const connectionsMax = 256;
const requestsPerConnectionMax = 100;
const idleMs = 5_000;
const checkingMs = 1_000;

/** A list that anybody may have. */
export interface StatusFile {
  readonly bytes: Uint8Array;
  /** Wall clock. */
  readonly fromMs: number;
  /** When there is a newer one. */
  readonly untilMs: number;
}

/** What is told; each may be another at the next question. */
export interface StatusAnswers {
  /** The list at this path, with its media type; `undefined` when there is none. */
  readonly file: (path: string) => (StatusFile & { readonly type: string }) | undefined;
  readonly ocsp: (request: Uint8Array) => OcspReply;
  readonly nowMs: () => number;
}

export interface StatusServerOptions {
  readonly host: string;
  readonly port: number;
  readonly clock: Clock;
  readonly log: Log;
}

export interface StatusServer extends AsyncDisposable {
  readonly url: string;
}

const ocspType = "application/ocsp-response";

/** Tells caches how long they may keep it. @see RFC 5019 §6.2 */
function cacheable(
  reply: FastifyReply,
  { fromMs, untilMs }: Pick<StatusFile, "fromMs" | "untilMs">,
  nowMs: number,
): FastifyReply {
  const seconds = Math.max(Math.floor((untilMs - nowMs) / 1_000), 0);
  return reply
    .header("cache-control", `max-age=${seconds}, public, no-transform, must-revalidate`)
    .header("last-modified", new Date(fromMs).toUTCString())
    .header("expires", new Date(untilMs).toUTCString());
}

function serveFiles(app: FastifyInstance, { file: fileAt, nowMs }: StatusAnswers): void {
  app.get<{ Params: { readonly name: string } }>("/crl/:name", (request, reply) => {
    const file = fileAt(`/crl/${request.params.name}`);
    if (file === undefined) return reply.status(404).type("text/plain").send("there is no such list here\n");
    const tag = `"${file.fromMs.toString(36)}-${file.bytes.length}"`;
    void cacheable(reply, file, nowMs()).header("etag", tag);
    if (request.headers["if-none-match"] === tag) return reply.status(304).send();
    return reply.type(file.type).send(file.bytes);
  });
}

/** The request in the path of a GET: base64, perhaps with its slashes, plus and equals signs written as %XX. @see RFC 6960 Appendix A.1 */
function requestInPath(url: string): Uint8Array {
  const encoded = url.slice(ocspPath.length + 1);
  if (encoded.length > pathCharactersMax) return new Uint8Array(0);
  try {
    return Buffer.from(decodeURIComponent(encoded), "base64");
  } catch {
    return new Uint8Array(0);
  }
}

function serveOcsp(app: FastifyInstance, { ocsp, nowMs }: StatusAnswers): void {
  const send = (reply: FastifyReply, { bytes, shared }: OcspReply): FastifyReply => {
    const typed = reply.type(ocspType);
    if (shared === undefined) return typed.header("cache-control", "no-store").send(bytes);
    return cacheable(typed, shared, nowMs()).send(bytes);
  };
  app.addContentTypeParser("application/ocsp-request", { parseAs: "buffer" }, (_request, body, done) =>
    done(null, body),
  );
  const post = (request: { readonly body: unknown }, reply: FastifyReply): FastifyReply => {
    const { body } = request;
    return send(reply, ocsp(Buffer.isBuffer(body) ? body : new Uint8Array(0)));
  };
  app.post(ocspPath, post);
  app.post(`${ocspPath}/`, post);
  app.get(`${ocspPath}/*`, (request, reply) => send(reply, ocsp(requestInPath(request.url))));
}

/**
 * CRL and OCSP over plain HTTP: both are signed, and whoever checks a certificate cannot use TLS to do so. @see RFC 5280 §8
 * @throws the system's error when the address cannot be bound.
 */
export async function startStatusServer(
  { host, port, clock, log }: StatusServerOptions,
  answers: StatusAnswers,
): Promise<StatusServer> {
  const app = Fastify({
    // How soon it is seen that a request takes too long.
    http: { connectionsCheckingInterval: checkingMs },
    logger: false,
    bodyLimit: bodyBytesMax,
    requestTimeout: idleMs,
    connectionTimeout: idleMs,
    keepAliveTimeout: idleMs,
    maxRequestsPerSocket: requestsPerConnectionMax,
    forceCloseConnections: true,
  });
  app.server.maxConnections = connectionsMax;
  // Node exchanges the two where this one is the longer, which is its default.
  app.server.headersTimeout = idleMs;
  app.removeAllContentTypeParsers();
  app.setNotFoundHandler((_request, reply) => reply.status(404).type("text/plain").send("not here\n"));
  app.setErrorHandler((thrown: FastifyError, _request, reply) => {
    const status = thrown.statusCode ?? 500;
    if (status >= 500)
      log.error({ error: errorText(thrown) }, "a question about revocation could not be answered");
    return reply
      .status(status)
      .type("text/plain")
      .send(status < 500 ? "this request cannot be understood\n" : "the server failed\n");
  });
  const throttle = new Throttle(clock);
  app.addHook("onRequest", async (request, reply) => {
    const waitSeconds = throttle.request(request.raw.socket.remoteAddress ?? "");
    if (waitSeconds === undefined) return;
    await reply
      .status(429)
      .header("retry-after", String(waitSeconds))
      .type("text/plain")
      .send("too many requests\n");
  });
  serveFiles(app, answers);
  serveOcsp(app, answers);
  await app.listen({ host, port });
  const address = app.server.address();
  const bound = typeof address === "object" && address !== null ? address : { address: host, port };
  return {
    url: `http://${hostAndPort(bound.address, bound.port)}`,
    [Symbol.asyncDispose]: () => app.close(),
  };
}
