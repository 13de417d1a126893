import type { BrokerContext } from "./context.ts";
import { LoadAverages } from "./load-averages.ts";
import { Message } from "./message.ts";
import type { Publisher } from "./publisher.ts";

const intervalMs = 10_000;
const nothing = new Uint8Array(0);

/**
 * `$SYS/broker/…`: the broker in numbers, as retained messages under the names that other brokers use.
 * Nobody may read them unless permitted.
 */
export class SystemTopics {
  readonly #context: BrokerContext;
  readonly #publisher: Publisher;
  readonly #loads: LoadAverages;
  readonly #timer: NodeJS.Timeout;
  readonly #published = new Map<string, string>();
  #clientsMaximum = 0;

  constructor(context: BrokerContext, publisher: Publisher) {
    this.#context = context;
    this.#publisher = publisher;
    this.#loads = new LoadAverages(intervalMs);
    this.#publish("version", `postern ${context.options.version}`);
    this.#update();
    this.#timer = setInterval(() => this.#update(), intervalMs).unref();
  }

  close(): void {
    clearInterval(this.#timer);
  }

  #update(): void {
    const { stats, sessions, topics, retained, ports } = this.#context;
    this.#context.readClock();
    let connected = 0;
    for (const { connection } of sessions.values()) if (connection !== undefined) connected += 1;
    this.#clientsMaximum = Math.max(this.#clientsMaximum, connected);
    const values: Record<string, number | string> = {
      uptime: `${Math.floor((ports.clock.wallMs() - stats.startedAtMs) / 1_000)} seconds`,
      "clients/connected": connected,
      "clients/disconnected": sessions.size - connected,
      "clients/total": sessions.size,
      "clients/maximum": this.#clientsMaximum,
      "clients/expired": stats.sessionsExpired,
      "subscriptions/count": topics.tree.count,
      "retained messages/count": retained.count,
      "store/messages/count": this.#context.queuedCount + retained.count,
      "store/messages/bytes": this.#context.queuedBytes + retained.bytes,
      "messages/stored": this.#context.queuedCount + retained.count,
      "messages/received": stats.packetsReceived,
      "messages/sent": stats.packetsSent,
      "publish/messages/received": stats.publishReceived,
      "publish/messages/sent": stats.publishSent,
      "publish/messages/dropped": stats.publishDropped + stats.queueDropped,
      "publish/bytes/received": stats.publishBytesReceived,
      "publish/bytes/sent": stats.publishBytesSent,
      "bytes/received": stats.bytesReceived,
      "bytes/sent": stats.bytesSent,
      "heap/current": process.memoryUsage.rss(),
      ...this.#loads.update({
        connections: stats.connectionsAccepted,
        sockets: stats.connectionsAccepted,
        "messages/received": stats.packetsReceived,
        "messages/sent": stats.packetsSent,
        "publish/received": stats.publishReceived,
        "publish/sent": stats.publishSent,
        "publish/dropped": stats.publishDropped + stats.queueDropped,
        "bytes/received": stats.bytesReceived,
        "bytes/sent": stats.bytesSent,
      }),
    };
    for (const [name, value] of Object.entries(values)) this.#publish(name, String(value));
  }

  #publish(name: string, value: string): void {
    if (this.#published.get(name) === value) return;
    this.#published.set(name, value);
    const nowMs = this.#context.nowMs;
    this.#publisher.publishSystem(
      Message.load({
        topic: `$SYS/broker/${name}`,
        payload: Buffer.from(value),
        qos: 0,
        properties: nothing,
        publishedAtMs: nowMs,
        expiresAtMs: Infinity,
        publisher: "",
      }),
    );
  }
}
