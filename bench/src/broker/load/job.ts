import { z } from "zod";

const tlsFiles = z.strictObject({
  ca: z.string(),
  cert: z.string().optional(),
  key: z.string().optional(),
  /** Takes any certificate: for a server that is not ours. */
  unverified: z.boolean().optional(),
});

/** Files (PEM): whom to trust, and what the client shows of itself. */
export type TlsFiles = z.infer<typeof tlsFiles>;

const target = z.strictObject({
  host: z.string(),
  port: z.number(),
  tls: tlsFiles.optional(),
  webSocket: z.boolean(),
  /** `mqtt`, or `relay`: the same PUBLISH packets, to a program that passes on bytes without looking at them. */
  speaks: z.enum(["mqtt", "relay"]),
  /** The processes of the server, where they are known. */
  pids: z.array(z.number()),
});

/** Where the load goes. */
export type Target = z.infer<typeof target>;

const load = z.strictObject({
  version: z.union([z.literal(4), z.literal(5)]),
  publishers: z.number(),
  subscribers: z.number(),
  /** Where publisher or subscriber `{i}` publishes, and what it subscribes to. */
  topic: z.string(),
  filter: z.string(),
  /** How many subscribers get each message. */
  copies: z.number(),
  qos: z.union([z.literal(0), z.literal(1), z.literal(2)]),
  payloadBytes: z.number(),
  /** Messages of one publisher that are on their way at a time. */
  window: z.number(),
  /** Messages a second of all publishers together; 0: as many as the window lets through. */
  ratePerSecond: z.number(),
  /** Subscribers keep their sessions. */
  durable: z.boolean(),
  /** Subscribers that read nothing while it is measured; they are subscribed like the others, and their messages are not counted. */
  slowSubscribers: z.number(),
  /** Clients that subscribe to so many filters each, which nothing is published on. */
  ballast: z.strictObject({ clients: z.number(), filtersEach: z.number() }),
  warmSeconds: z.number(),
  seconds: z.number(),
  /** Goes on until so many messages are counted, up to ten times `seconds`: on a busy machine few come in that time. */
  messagesMin: z.number(),
});

/** Closed loop: publishers send as long as no more than `window` messages of each are on their way. */
export type MessageLoad = z.infer<typeof load>;

const connections = z.strictObject({
  version: z.union([z.literal(4), z.literal(5)]),
  /** Connections that are under way at a time. */
  atOnce: z.number(),
  /** Clients take up their earlier TLS session. */
  resume: z.boolean(),
  warmSeconds: z.number(),
  seconds: z.number(),
});

/** Connects, is let in, disconnects, again and again. */
export type ConnectionLoad = z.infer<typeof connections>;

const idle = z.strictObject({
  version: z.union([z.literal(4), z.literal(5)]),
  /** Clients that connect and subscribe to one filter each. */
  clients: z.number(),
  /** More filters of each client. */
  filtersEach: z.number(),
  /** How long they are left alone before memory is looked at. */
  restSeconds: z.number(),
  /** They keep their sessions. */
  durable: z.boolean(),
  /** Loads that are measured while they are there, one after the other: the median counts. */
  beside: z.array(load),
});

/** Connects clients that then do nothing. */
export type IdleLoad = z.infer<typeof idle>;

const retained = z.strictObject({
  version: z.union([z.literal(4), z.literal(5)]),
  messages: z.number(),
  payloadBytes: z.number(),
  seconds: z.number(),
});

/** Leaves retained messages, then subscribes to all of them, again and again. */
export type RetainedLoad = z.infer<typeof retained>;

const offline = z.strictObject({
  version: z.union([z.literal(4), z.literal(5)]),
  publishers: z.number(),
  /** Each has a durable session, subscribed to what the publisher of its index sends, and is away. */
  subscribers: z.number(),
  payloadBytes: z.number(),
  window: z.number(),
  seconds: z.number(),
  /** Ends earlier when so many are queued; 0: does not. */
  messagesMax: z.number(),
  /** The clients stay away, and their messages where they are. */
  stay: z.boolean(),
});

/** Publishes to sessions whose clients are away (QoS 1), then has them come back and counts what they get. */
export type OfflineLoad = z.infer<typeof offline>;

export const job = z.discriminatedUnion("kind", [
  z.strictObject({ kind: z.literal("messages"), target, load }),
  z.strictObject({ kind: z.literal("connections"), target, load: connections }),
  z.strictObject({ kind: z.literal("idle"), target, load: idle }),
  z.strictObject({ kind: z.literal("retained"), target, load: retained }),
  z.strictObject({ kind: z.literal("offline"), target, load: offline }),
]);

/** What the load generator is told to do, one after the other. */
export type Job = z.infer<typeof job>;

const figures = z.strictObject({
  /** What was counted: messages delivered, connections made … */
  count: z.number(),
  seconds: z.number(),
  /** Of the server's processes; 0 where they are not known. */
  serverNanoseconds: z.number(),
  /** Of the thread that had most. */
  busiestNanoseconds: z.number(),
  generatorNanoseconds: z.number(),
  latencyMicroseconds: z
    .strictObject({
      p50: z.number(),
      p99: z.number(),
      p999: z.number(),
    })
    .optional(),
  residentBytes: z.number(),
  /** Messages that never came. */
  lost: z.number(),
  /** More figures of this kind of job, by name with unit. */
  more: z.record(z.string(), z.number()),
});

/** What came of a job. */
export type Figures = z.infer<typeof figures>;

export const outcome = z.union([z.strictObject({ figures }), z.strictObject({ error: z.string() })]);
