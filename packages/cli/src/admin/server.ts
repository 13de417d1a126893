import { chmodSync, rmSync } from "node:fs";

import { PosternError, errorText } from "@postern/core/errors";
import Fastify, { type FastifyInstance } from "fastify";
import { z } from "zod";

import type { LogLevel } from "../config/configuration.ts";
import { adminSocketPath } from "./socket-path.ts";
import {
  backupRequest,
  explainRequest,
  type ExplainRequest,
  type ExplainResult,
  logLevelRequest,
  type Status,
} from "./protocol.ts";

/** What the admin API acts on. */
export interface Administered {
  status(): Status;
  /** SHA-256 of the last event in the audit log. */
  auditHead(): string;
  setLogLevel(level: LogLevel): void;
  /** Writes a consistent copy of the state to an absolute path; returns its size. */
  backup(file: string): Promise<number>;
  explainPermissions(asked: ExplainRequest): ExplainResult;
  /** Reads certificates again. @throws what went wrong; the old ones stay then. */
  reload(): Promise<void>;
  /** Begins to stop; returns at once. */
  shutdown(): void;
}

const bodyBytesMax = 65_536;

function routes(app: FastifyInstance, server: Administered): void {
  app.get("/status", () => server.status());
  app.get("/audit/head", () => ({ head: server.auditHead() }));
  app.put("/log/level", (request) => {
    server.setLogLevel(logLevelRequest.parse(request.body).level);
    return {};
  });
  app.post("/backup", (request) =>
    server.backup(backupRequest.parse(request.body).file).then((bytes) => ({ bytes })),
  );
  app.post("/permissions/explain", (request) =>
    server.explainPermissions(explainRequest.parse(request.body)),
  );
  app.post("/reload", async () => {
    await server.reload();
    return {};
  });
  app.post("/shutdown", () => {
    server.shutdown();
    return {};
  });
}

/** 400 and the like for requests that are wrong, by their content or, as Fastify says itself, by not being JSON or too long. */
function statusOf(thrown: unknown): number {
  if (thrown instanceof z.ZodError) return 400;
  const status =
    typeof thrown === "object" && thrown !== null && "statusCode" in thrown ? thrown.statusCode : undefined;
  return typeof status === "number" && status >= 400 && status < 500 ? status : 500;
}

/**
 * The admin API: HTTP with JSON on a Unix socket that only the server's user can reach. There is nothing else to prove: who can
 * open the socket can read the keys beside it. `more` adds the routes of parts that have their own.
 */
export async function startAdminServer(
  run: string,
  cwd: string,
  server: Administered,
  more: (app: FastifyInstance) => void,
): Promise<AsyncDisposable> {
  const app = Fastify({ bodyLimit: bodyBytesMax, logger: false });
  app.setErrorHandler(async (thrown, _request, reply) => {
    const code = thrown instanceof PosternError ? thrown.code : "ADMIN_REQUEST";
    const message =
      thrown instanceof z.ZodError
        ? `not a request this server understands: ${thrown.issues[0]?.message ?? ""}`
        : errorText(thrown);
    await reply.status(statusOf(thrown)).send({ code, message });
  });
  routes(app, server);
  more(app);
  const socket = adminSocketPath(run, cwd);
  // The lock on the data directory is ours: whatever is there is left over from a process that died.
  rmSync(socket.path, { force: true });
  await app.listen({ path: socket.path });
  chmodSync(socket.path, 0o600);
  return {
    [Symbol.asyncDispose]: async () => {
      await app.close();
      socket[Symbol.dispose]();
    },
  };
}
