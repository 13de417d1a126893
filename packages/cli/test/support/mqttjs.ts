import assert from "node:assert/strict";
import { setTimeout as delay } from "node:timers/promises";

import {
  connect,
  type IClientOptions,
  type IClientSubscribeOptions,
  type IConnackPacket,
  type IPublishPacket,
  type MqttClient,
  type Packet,
} from "mqtt";

/** How long an expected event may take on a busy machine. */
const patienceMs = 8_000;

async function within<T>(work: Promise<T>, what: string): Promise<T> {
  const over = new AbortController();
  const late = delay(patienceMs, undefined, { signal: over.signal }).then(() =>
    Promise.reject(new Error(`${what} did not come within ${patienceMs / 1_000} s`)),
  );
  late.catch(() => {});
  try {
    return await Promise.race([work, late]);
  } finally {
    over.abort();
  }
}

/** A received message; `topic` is the one its alias stands for. */
export interface Received {
  readonly topic: string;
  readonly text: string;
  readonly qos: number;
  readonly retain: boolean;
  readonly dup: boolean;
  readonly properties: NonNullable<IPublishPacket["properties"]>;
}

/** An MQTT.js client that keeps all that it receives; disconnected at the end of the scope. */
export class TestClient implements AsyncDisposable {
  readonly client: MqttClient;
  /** Every packet from the server, in order. */
  readonly packets: Packet[] = [];
  /** Every packet that was sent. */
  readonly sent: Packet[] = [];
  readonly #inbox: Received[] = [];
  #connack: IConnackPacket | undefined;
  #disconnectReason: number | undefined;
  #wake: () => void = () => {};

  private constructor(client: MqttClient) {
    this.client = client;
    client.on("error", () => this.#wake());
    client.on("close", () => this.#wake());
    client.on("packetsend", (packet) => this.sent.push({ ...packet }));
    client.on("packetreceive", (packet) => {
      this.packets.push(packet);
      if (packet.cmd === "connack") this.#connack = packet;
      if (packet.cmd === "disconnect") this.#disconnectReason = packet.reasonCode ?? 0;
      this.#wake();
    });
    client.on("message", (topic, payload, { qos, retain, dup, properties = {} }) => {
      this.#inbox.push({ topic, text: payload.toString("utf8"), qos, retain, dup, properties });
      this.#wake();
    });
  }

  /** Connects with MQTT 5 and a clean start unless told otherwise. @throws what the server refuses with. */
  static async connect(url: string, options: IClientOptions = {}): Promise<TestClient> {
    const own = new TestClient(connect(url, { protocolVersion: 5, reconnectPeriod: 0, ...options }));
    const connected = new Promise<void>((resolve, reject) => {
      own.client.once("connect", () => resolve());
      own.client.once("error", reject);
    });
    try {
      await within(connected, `CONNACK from ${url}`);
      return own;
    } catch (thrown) {
      own.client.end(true);
      throw thrown;
    }
  }

  get connack(): IConnackPacket {
    assert.ok(this.#connack);
    return this.#connack;
  }

  subscribe(filter: string | string[], options: Partial<IClientSubscribeOptions> = {}) {
    return this.client.subscribeAsync(filter, { qos: 2, ...options });
  }

  publish(
    topic: string,
    text: string | Buffer,
    options: Parameters<MqttClient["publishAsync"]>[2] = {},
  ): Promise<Packet | undefined> {
    return this.client.publishAsync(topic, text, { qos: 1, ...options });
  }

  /** The next message. */
  async next(): Promise<Received> {
    await this.until(() => this.#inbox.length > 0, "a message");
    const message = this.#inbox.shift();
    assert.ok(message);
    return message;
  }

  /** The payloads of the next `count` messages. */
  async texts(count: number): Promise<string[]> {
    const texts: string[] = [];
    while (texts.length < count) texts.push((await this.next()).text);
    return texts;
  }

  /** The payloads of all that has come and was not asked for yet. */
  drain(): string[] {
    return this.#inbox.splice(0).map(({ text }) => text);
  }

  /** Makes sure that nothing more has come: what was sent before is here when this own message comes back. */
  async assertNothingMore(): Promise<void> {
    const topic = `echo/${this.client.options.clientId ?? ""}`;
    await this.subscribe(topic, { qos: 0 });
    await this.publish(topic, "echo");
    assert.equal((await this.next()).text, "echo");
    await this.client.unsubscribeAsync(topic);
  }

  async until(condition: () => boolean, what: string): Promise<void> {
    const deadline = performance.now() + patienceMs;
    while (!condition()) {
      if (performance.now() > deadline) throw new Error(`${what} did not come`);
      await Promise.race([new Promise<void>((resolve) => (this.#wake = resolve)), delay(50)]);
    }
  }

  /** The reason code of the DISCONNECT from the server. */
  async disconnected(): Promise<number> {
    await this.until(() => this.#disconnectReason !== undefined, "DISCONNECT");
    return this.#disconnectReason ?? -1;
  }

  count(cmd: Packet["cmd"]): number {
    return this.packets.filter((packet) => packet.cmd === cmd).length;
  }

  /** Breaks the connection without a word, as when the device loses power; with `reconnectPeriod` it comes back. */
  async cut(): Promise<void> {
    const closed = new Promise<void>((resolve) => this.client.once("close", () => resolve()));
    this.client.stream.destroy();
    await closed;
  }

  /** DISCONNECT, and the connection is closed. */
  async end(options: Parameters<MqttClient["endAsync"]>[1] = {}): Promise<void> {
    await within(this.client.endAsync(false, options), "the end of the connection");
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.client.disconnected) return;
    // What was never acknowledged on purpose would be waited for.
    this.client.outgoing = {};
    await within(this.client.endAsync(!this.client.connected), "the end of the connection");
  }
}

let lastingCount = 0;

/** The options of a session that outlives its connection. */
export function lasting(seconds: number): IClientOptions {
  lastingCount++;
  const clientId = `lasting-${process.pid}-${lastingCount}`;
  return { clientId, clean: false, properties: { sessionExpiryInterval: seconds } };
}

/** Does not acknowledge what it receives: MQTT.js takes the error for the application's. */
export const withholding: IClientOptions = {
  customHandleAcks: (_topic, _message, _packet, acknowledge) => acknowledge(new Error("withheld")),
};
