import type { ConnectionLoad, IdleLoad, MessageLoad, OfflineLoad, RetainedLoad } from "./load/job.ts";
import type { Transport } from "./peers/peer.ts";

/** How long it is measured is the same for all, and not the scenario's to say. */
type Untimed<L> = Omit<L, "warmSeconds" | "seconds">;

export type ScenarioLoad =
  | { readonly kind: "messages"; readonly load: Untimed<MessageLoad> }
  | { readonly kind: "connections"; readonly load: Untimed<ConnectionLoad> }
  | { readonly kind: "idle"; readonly load: IdleLoad }
  | { readonly kind: "retained"; readonly load: Untimed<RetainedLoad> }
  | { readonly kind: "offline"; readonly load: Untimed<OfflineLoad> };

/** One line of the comparison. */
export interface Scenario {
  readonly name: string;
  readonly group: Group;
  readonly transport: Transport;
  /** Measured on servers that were started for it: memory that was used and freed before would hide what is used now. */
  readonly fresh: boolean;
  /** Asks for shared subscriptions, which not every broker has. */
  readonly shared: boolean;
  /** A TLS session may be taken up again. */
  readonly resumption: boolean;
  readonly job: ScenarioLoad;
}

/** The parts of the report: title, and what its figures count. */
export const groups = {
  shapes: { title: "Shapes of traffic, 64-byte payload", unit: "delivered message" },
  sizes: { title: "Sizes of payload, 20 pairs", unit: "delivered message" },
  protocols: { title: "WebSocket and MQTT 5", unit: "delivered message" },
  subscriptions: { title: "Kinds of subscriptions, 20 pairs", unit: "delivered message" },
  retained: { title: "Retained messages, sent to new subscribers", unit: "delivered message" },
  durable: { title: "Durable sessions, QoS 1", unit: "message" },
  latency: { title: "Latency at 1,000 messages a second", unit: "delivered message" },
  slow: { title: "A subscriber that does not read, beside 49 that do", unit: "delivered message" },
  connections: { title: "Connections that come and go", unit: "connection" },
  idle: { title: "Idle connections, with one subscription each", unit: "connection" },
} as const;
export type Group = keyof typeof groups;

/** 20 publishers, each with a subscriber of its own. */
export const pairs: Untimed<MessageLoad> = {
  version: 4,
  publishers: 20,
  subscribers: 20,
  topic: "load/{i}",
  filter: "load/{i}",
  copies: 1,
  qos: 0,
  payloadBytes: 64,
  window: 64,
  ratePerSecond: 0,
  durable: false,
  slowSubscribers: 0,
  ballast: { clients: 0, filtersEach: 0 },
  messagesMin: 0,
};

const shapes = {
  "fan-out": { publishers: 1, subscribers: 50, filter: "load/+", copies: 50 },
  "fan-in": { publishers: 50, subscribers: 1, filter: "load/+" },
  "20-pairs": { publishers: 20, subscribers: 20 },
  "500-pairs": { publishers: 500, subscribers: 500, window: 4 },
} satisfies Readonly<Record<string, Partial<MessageLoad>>>;

function scenario(
  name: string,
  group: Group,
  job: ScenarioLoad,
  more: Partial<Pick<Scenario, "transport" | "fresh" | "shared" | "resumption">> = {},
): Scenario {
  return { name, group, transport: "tcp", fresh: false, shared: false, resumption: false, job, ...more };
}

function messages(
  name: string,
  group: Group,
  load: Partial<MessageLoad>,
  more: Parameters<typeof scenario>[3] = {},
): Scenario {
  return scenario(name, group, { kind: "messages", load: { ...pairs, ...load } }, more);
}

/** Each shape at each quality of service, and over TLS. */
const shapeScenarios = Object.entries(shapes).flatMap(([shape, load]) => [
  messages(`${shape}-qos0`, "shapes", load),
  messages(`${shape}-qos1`, "shapes", { ...load, qos: 1 }),
  messages(`${shape}-qos2`, "shapes", { ...load, qos: 2 }),
  messages(`${shape}-tls`, "shapes", load, { transport: "tls" }),
]);

function connections(name: string, more: Parameters<typeof scenario>[3] = {}): Scenario {
  const { resumption: resume = false } = more;
  return scenario(
    name,
    "connections",
    { kind: "connections", load: { version: 4, atOnce: 32, resume } },
    more,
  );
}

function idle(name: string, clients: number, transport: Transport): Scenario {
  const load: IdleLoad = { version: 4, clients, filtersEach: 0, restSeconds: 3, durable: false, beside: [] };
  return scenario(name, "idle", { kind: "idle", load }, { transport, fresh: true });
}

/** The comparison: what is measured, as data. Names are what `npm run bench -- NAME` takes. */
export const scenarios: readonly Scenario[] = [
  ...shapeScenarios,
  messages("16-bytes", "sizes", { payloadBytes: 16 }),
  messages("1-kb", "sizes", { payloadBytes: 1_024 }),
  messages("64-kb", "sizes", { payloadBytes: 65_536, window: 4 }),
  messages("64-kb-tls", "sizes", { payloadBytes: 65_536, window: 4 }, { transport: "tls" }),
  messages("websocket", "protocols", {}, { transport: "ws" }),
  messages("websocket-qos1", "protocols", { qos: 1 }, { transport: "ws" }),
  messages("mqtt5", "protocols", { version: 5 }),
  messages("mqtt5-qos1", "protocols", { version: 5, qos: 1 }),
  messages("mqtt5-fan-out", "protocols", { ...shapes["fan-out"], version: 5 }),
  messages("one-level-wildcard", "subscriptions", { topic: "plant/{i}/pump/7", filter: "plant/{i}/+/7" }),
  messages("all-below-wildcard", "subscriptions", { topic: "plant/{i}/pump/7", filter: "plant/{i}/#" }),
  messages("shared", "subscriptions", { filter: "$share/group/load/+" }, { shared: true }),
  messages("100000-subscriptions", "subscriptions", { ballast: { clients: 100, filtersEach: 1_000 } }),
  scenario(
    "retained",
    "retained",
    { kind: "retained", load: { version: 4, messages: 10_000, payloadBytes: 64 } },
    { fresh: true },
  ),
  messages("durable-online", "durable", { durable: true, qos: 1 }),
  scenario("durable-offline", "durable", {
    kind: "offline",
    load: {
      version: 4,
      publishers: 20,
      subscribers: 20,
      payloadBytes: 64,
      window: 200,
      messagesMax: 0,
      stay: false,
    },
  }),
  messages("latency", "latency", { publishers: 10, subscribers: 10, ratePerSecond: 1_000 }),
  messages("latency-qos1", "latency", { publishers: 10, subscribers: 10, ratePerSecond: 1_000, qos: 1 }),
  messages(
    "latency-tls",
    "latency",
    { publishers: 10, subscribers: 10, ratePerSecond: 1_000 },
    { transport: "tls" },
  ),
  messages("slow-consumer", "slow", {
    ...shapes["fan-out"],
    subscribers: 49,
    copies: 49,
    slowSubscribers: 1,
  }),
  connections("connect"),
  connections("connect-tls", { transport: "tls" }),
  connections("connect-tls-resumed", { transport: "tls", resumption: true }),
  idle("idle", 2_000, "tcp"),
  idle("idle-tls", 1_000, "tls"),
];
