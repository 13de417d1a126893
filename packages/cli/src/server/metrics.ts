import { Counter, Gauge, Registry } from "prom-client";

import type { BrokerSnapshot } from "@postern/broker/snapshot";

import type { Status } from "../admin/protocol.ts";

/** What the metrics are read from, at each scrape. */
export interface MetricsSource {
  readonly version: string;
  snapshot(): BrokerSnapshot;
  certificates(): Status["certificates"];
  /** Whether the state can be written. */
  storeHealthy(): boolean;
}

type CounterName = keyof BrokerSnapshot["counters"];

/** The broker's counters by their names in Prometheus. */
const counters: Readonly<Record<string, { readonly from: CounterName; readonly help: string }>> = {
  connections_accepted: { from: "connectionsAccepted", help: "Connections accepted, before TLS and CONNECT" },
  connections_refused: {
    from: "connectionsRefused",
    help: "Connections refused by a limit, before TLS and CONNECT",
  },
  connects_refused: { from: "connectRefused", help: "CONNECT packets refused" },
  received_bytes: { from: "bytesReceived", help: "Bytes received from clients" },
  sent_bytes: { from: "bytesSent", help: "Bytes sent to clients" },
  packets_received: { from: "packetsReceived", help: "MQTT packets received" },
  packets_sent: { from: "packetsSent", help: "MQTT packets sent" },
  messages_received: { from: "publishReceived", help: "Application messages received" },
  messages_sent: { from: "publishSent", help: "Application messages sent" },
  messages_received_bytes: {
    from: "publishBytesReceived",
    help: "Payload bytes of application messages received",
  },
  messages_sent_bytes: { from: "publishBytesSent", help: "Payload bytes of application messages sent" },
  messages_dropped: {
    from: "publishDropped",
    help: "QoS 0 messages dropped because the receiver was too slow",
  },
  queue_messages_dropped: { from: "queueDropped", help: "QoS 1 and 2 messages removed from a full queue" },
  messages_expired: { from: "messagesExpired", help: "Messages whose expiry interval ended before delivery" },
  publishes_refused: {
    from: "publishRefused",
    help: "PUBLISH packets refused by permissions or payload rules",
  },
  payloads_checked: { from: "payloadsChecked", help: "Payloads held to a payload rule" },
  payloads_refused: { from: "payloadsRefused", help: "Payloads refused by a payload rule" },
  payloads_repeated: {
    from: "payloadsRepeated",
    help: "Sealed messages sent again that had been accepted: acknowledged, not passed on twice",
  },
  payloads_withheld: {
    from: "payloadsWithheld",
    help: "Deliveries of opened payloads not made because others could read the connection",
  },
  payload_signatures_checked: {
    from: "signaturesChecked",
    help: "Signatures checked for payload rules",
  },
  subscriptions_refused: { from: "subscribeRefused", help: "Subscriptions refused" },
  protocol_errors: {
    from: "protocolErrors",
    help: "Connections ended because the client broke the protocol",
  },
  sessions_expired: { from: "sessionsExpired", help: "Sessions that ended by expiry" },
  sessions_taken_over: {
    from: "sessionsTakenOver",
    help: "Connections ended because the client connected again",
  },
  throttled: { from: "throttled", help: "Times a client was not read for a while because of a rate limit" },
  store_commits: { from: "commits", help: "Groups of changes made durable" },
  store_commit_failures: {
    from: "commitFailures",
    help: "Groups of changes that could not be made durable at once",
  },
};

type GaugeName = Exclude<keyof BrokerSnapshot, "listeners" | "largestQueues" | "counters" | "startedAtMs">;

const gauges: Readonly<Record<string, { readonly from: GaugeName; readonly help: string }>> = {
  connections: { from: "connections", help: "Open connections" },
  clients_connected: { from: "clientsConnected", help: "Clients connected" },
  sessions: { from: "sessions", help: "Sessions, connected or not" },
  sessions_disconnected: { from: "sessionsDisconnected", help: "Sessions without a connection" },
  subscriptions: { from: "subscriptions", help: "Subscriptions" },
  retained_messages: { from: "retainedMessages", help: "Retained messages" },
  retained_bytes: { from: "retainedBytes", help: "Bytes of retained messages" },
  queued_messages: { from: "queuedMessages", help: "Messages waiting in durable queues" },
  queued_bytes: { from: "queuedBytes", help: "Bytes of messages waiting in durable queues" },
  queued_memory_bytes: { from: "queuedMemoryBytes", help: "Bytes of messages waiting in memory" },
  outbound_bytes: { from: "outboundBytes", help: "Bytes on their way to slow clients" },
  wills: { from: "wills", help: "Wills waiting" },
};

/** The registry of all metrics; everything is read when it is scraped and costs nothing otherwise. */
export function createMetrics(source: MetricsSource): Registry {
  const registry = new Registry();
  const registers = [registry];
  let snapshot: BrokerSnapshot | undefined;
  // One snapshot for all metrics of a scrape, which is collected within one turn of the event loop.
  const current = (): BrokerSnapshot => {
    if (snapshot === undefined) {
      snapshot = source.snapshot();
      setImmediate(() => (snapshot = undefined));
    }
    return snapshot;
  };

  for (const [name, { from, help }] of Object.entries(counters)) {
    const counter: Counter = new Counter({
      name: `postern_${name}_total`,
      help,
      registers,
      collect: () => {
        counter.reset();
        counter.inc(current().counters[from]);
      },
    });
  }
  const gauge = (name: string, help: string, read: () => number): void => {
    const made: Gauge = new Gauge({ name, help, registers, collect: () => made.set(read()) });
  };
  for (const [name, { from, help }] of Object.entries(gauges))
    gauge(`postern_${name}`, help, () => current()[from]);
  addLabelled(registers, source, current);

  gauge("postern_store_healthy", "1 while the state can be written", () => Number(source.storeHealthy()));
  gauge(
    "process_start_time_seconds",
    "When the server started, seconds since 1970",
    () => current().startedAtMs / 1000,
  );
  gauge("process_resident_memory_bytes", "Memory of the process", () => process.memoryUsage.rss());
  gauge("process_heap_bytes", "JavaScript heap in use", () => process.memoryUsage().heapUsed);
  const cpu: Counter = new Counter({
    name: "process_cpu_seconds_total",
    help: "CPU time of the process",
    registers,
    collect: () => {
      const { user, system } = process.cpuUsage();
      cpu.reset();
      cpu.inc((user + system) / 1_000_000);
    },
  });
  return registry;
}

function addLabelled(registers: Registry[], source: MetricsSource, current: () => BrokerSnapshot): void {
  const info = new Gauge({
    name: "postern_info",
    help: "1, labelled with the version",
    labelNames: ["version"],
    registers,
  });
  info.set({ version: source.version }, 1);
  const listeners: Gauge<"listener"> = new Gauge({
    name: "postern_listener_connections",
    help: "Open connections of a listener",
    labelNames: ["listener"],
    registers,
    collect: () => {
      for (const { name, connections } of current().listeners) listeners.set({ listener: name }, connections);
    },
  });
  const certificates: Gauge<"certificate"> = new Gauge({
    name: "postern_certificate_expiry_timestamp_seconds",
    help: "When a certificate expires, seconds since 1970; devices only when it is within 30 days",
    labelNames: ["certificate"],
    registers,
    collect: () => {
      certificates.reset();
      for (const { name, notAfter } of source.certificates()) {
        certificates.set({ certificate: name }, Date.parse(notAfter) / 1000);
      }
    },
  });
}
