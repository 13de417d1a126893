import { operations } from "@postern/identity/permissions/schema";
import { sealModes } from "@postern/seal/envelope/structure";
import { z } from "zod";

import { logLevels } from "../config/schema.ts";

/** What `GET /status` answers: a running server in numbers. Read by `postern status`, which is of the same version. */
export const statusSchema = z.object({
  version: z.string(),
  pid: z.number(),
  /** Threads that connections may be spread over. */
  workers: z.number(),
  /** Those that carry connections now. */
  threads: z.number(),
  data: z.string(),
  startedAt: z.string(),
  uptimeSeconds: z.number(),
  logLevel: z.string(),
  memoryBytes: z.number(),
  /** Why nothing can be acknowledged at the moment; absent when all is well. */
  storeFailure: z.string().optional(),
  listeners: z.array(z.object({ name: z.string(), url: z.string(), connections: z.number() })),
  metricsUrl: z.string().optional(),
  clients: z.object({ connected: z.number(), connections: z.number() }),
  sessions: z.object({ total: z.number(), disconnected: z.number(), subscriptions: z.number() }),
  queues: z.object({
    messages: z.number(),
    bytes: z.number(),
    memoryBytes: z.number(),
    /** Largest first. */
    largest: z.array(
      z.object({
        clientId: z.string(),
        owner: z.string(),
        connected: z.boolean(),
        messages: z.number(),
        bytes: z.number(),
      }),
    ),
  }),
  retained: z.object({ messages: z.number(), bytes: z.number() }),
  /** Who may do what. */
  permissions: z.object({
    file: z.string(),
    /** With `missing` and `empty` nobody may do anything. */
    state: z.enum(["good", "missing", "empty"]),
    roles: z.array(z.string()),
    loadedAt: z.string(),
    /** What is wrong with the file as it is now, while an earlier one is in force. */
    problem: z.string().optional(),
  }),
  /** Growth of the counters per second over the last minute. */
  rates: z.record(z.string(), z.number()),
  /** Since the start. */
  counters: z.record(z.string(), z.number()),
  /** Proofs that failed. */
  authentication: z.object({
    /** Since the start, by kind. */
    failures: z.record(z.string(), z.number()),
    /** Attempts that were refused unseen because of earlier failures. */
    refused: z.number(),
    /** Addresses that failed of late, and those that did most often. */
    sources: z.number(),
    worst: z.array(z.object({ source: z.string(), failures: z.number(), waitMs: z.number() })),
    passwordsWaiting: z.number(),
    /** Attempts that were turned away because too many passwords were waiting to be verified. */
    passwordsTurnedAway: z.number(),
  }),
  certificates: z.array(
    z.object({
      name: z.string(),
      notAfter: z.string(),
      daysLeft: z.number(),
      /** Whether somebody should do something. */
      warning: z.boolean(),
    }),
  ),
});
export type Status = z.infer<typeof statusSchema>;

export const explainRequest = z.strictObject({
  device: z.string(),
  client: z.string(),
  operation: z.enum(operations),
  topic: z.string().optional(),
  qos: z.union([z.literal(0), z.literal(1), z.literal(2)]),
});
export type ExplainRequest = z.infer<typeof explainRequest>;

export const explainResult = z.discriminatedUnion("kind", [
  z.object({ kind: z.literal("unknown-device"), count: z.number() }),
  z.object({
    kind: z.literal("explained"),
    explanation: z.object({
      permitted: z.boolean(),
      rules: z
        .array(
          z.object({
            line: z.number(),
            role: z.string(),
            effect: z.enum(["allow", "deny"]),
            filter: z.string().optional(),
            bound: z.string().optional(),
          }),
        )
        .readonly(),
      reason: z.string().optional(),
      grantedQoS: z.union([z.literal(0), z.literal(1), z.literal(2)]).optional(),
      payload: z
        .object({
          line: z.number(),
          filter: z.string(),
          modes: z.array(z.enum(sealModes)).readonly(),
          maxAgeSeconds: z.number().optional(),
          checksMacs: z.boolean(),
          deliver: z.enum(["plain", "sealed"]).optional(),
        })
        .optional(),
      remarks: z.array(z.string()).readonly(),
    }),
  }),
]);
export type ExplainResult = z.infer<typeof explainResult>;

export const logLevelRequest = z.strictObject({ level: z.enum(logLevels) });

export const auditHeadResult = z.object({ head: z.string() });

/** `file` is an absolute path; the server writes it with its own rights. */
export const backupRequest = z.strictObject({ file: z.string().startsWith("/") });
export const backupResult = z.object({ bytes: z.number() });

/** What a refused request is answered with. */
export const adminErrorSchema = z.object({ code: z.string(), message: z.string() });

export const nothing = z.object({});
