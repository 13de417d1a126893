import Fastify from "fastify";
import type { Registry } from "prom-client";

import { hostAndPort } from "@postern/core/host";

import type { MetricsConfiguration } from "../config/configuration.ts";

/** What the health endpoints tell. */
export interface Health {
  /** Why the server cannot serve at the moment, or `undefined`. */
  unready(): string | undefined;
}

export interface MetricsServer extends AsyncDisposable {
  readonly url: string;
}

/**
 * `/metrics` for Prometheus, `/healthz` (the process answers) and `/readyz` (it can take clients and keep what it acknowledges).
 * @throws the system's error when the address cannot be bound.
 */
export async function startMetricsServer(
  { host, port }: Pick<MetricsConfiguration, "host" | "port">,
  registry: Registry,
  health: Health,
): Promise<MetricsServer> {
  const app = Fastify({
    logger: false,
    forceCloseConnections: true,
    requestTimeout: 10_000,
    connectionTimeout: 60_000,
  });
  // Node exchanges the two where this one is the longer, which is its default.
  app.server.headersTimeout = 10_000;
  app.get("/metrics", async (_request, reply) =>
    reply.type(registry.contentType).send(await registry.metrics()),
  );
  app.get("/healthz", (_request, reply) => reply.type("text/plain").send("ok\n"));
  app.get("/readyz", (_request, reply) => {
    const reason = health.unready();
    return reply
      .status(reason === undefined ? 200 : 503)
      .type("text/plain")
      .send(`${reason ?? "ok"}\n`);
  });
  await app.listen({ host, port });
  const address = app.server.address();
  const bound = typeof address === "object" && address !== null ? address : { address: host, port };
  return {
    url: `http://${hostAndPort(bound.address, bound.port)}`,
    [Symbol.asyncDispose]: () => app.close(),
  };
}
