import type { Properties, ProtocolVersion, QoS } from "@postern/mqtt/packets";
import { ReasonCode } from "@postern/mqtt/reason-codes";
import { hasPacketId, type Connection, type Reporter } from "@postern/device/connection";
import { ServerRefusedError, reasonText } from "@postern/device/errors";
import { fromPublishProperties, toSubscribeProperties } from "@postern/device/mqttjs-properties";
import type { IPublishPacket, MqttClient } from "@postern/device/mqttjs";

import type { ReceivedMessage } from "./format.ts";

export interface SubscribeRequest {
  readonly filters: readonly string[];
  readonly qos: QoS;
  readonly noLocal: boolean;
  readonly retainAsPublished: boolean;
  /** @see MQTT 5.0 §3.8.3.1 */
  readonly retainHandling: 0 | 1 | 2;
  readonly properties: Properties;
  readonly protocolVersion: ProtocolVersion;
}

/** Looks at a message before it is counted: as it is to be taken, and what is to be done then; `undefined` when it is not to be taken. */
export type Inspect = (
  message: ReceivedMessage,
) => { readonly message: ReceivedMessage; readonly settled: () => void } | undefined;

/** Takes a message; a promise holds back the acknowledgement and everything after it until it resolves. */
export type Receive = (message: ReceivedMessage) => Promise<unknown> | undefined;

/**
 * Receives messages one after another. A message is acknowledged when it was taken, so a session that goes on
 * brings again what was not. With QoS 2 it is taken at PUBLISH, not at PUBREL as MQTT.js does: what was answered with
 * PUBREC would be lost if this process ended before the PUBREL, since no later process can know of it.
 * @see MQTT 5.0 §4.3.3, the second of the receiver's methods; Figure 4.3
 */
export class Subscriber {
  readonly #request: SubscribeRequest;
  readonly #receive: Receive;
  readonly #reporter: Reporter;
  readonly #inspect: Inspect;
  /** Packet ids of QoS 2 messages that were taken and whose PUBREL has not come. */
  readonly #unreleased = new Set<number>();
  #filters: readonly string[];
  #answered = false;
  #remaining: number;
  readonly #complete = Promise.withResolvers<void>();

  /** @param remaining how many messages to take; Infinity for no end. */
  constructor(
    request: SubscribeRequest,
    remaining: number,
    receive: Receive,
    { reporter, inspect }: { readonly reporter: Reporter; readonly inspect?: Inspect | undefined },
  ) {
    this.#request = request;
    this.#filters = request.filters;
    this.#remaining = remaining;
    this.#receive = receive;
    this.#reporter = reporter;
    this.#inspect = inspect ?? ((message) => ({ message, settled: () => {} }));
  }

  /** Resolves when the last message was taken and its acknowledgement written. */
  get complete(): Promise<void> {
    return this.#complete.promise;
  }

  /** Hooks into a client before its first packet. */
  attach(client: MqttClient): void {
    let topic = "";
    client.on("message", (name) => {
      topic = name;
    });
    client.options.customHandleAcks = (name, _payload, packet: IPublishPacket, acknowledge) => {
      if (!hasPacketId(packet)) return;
      const { stream } = client;
      const taken = this.#take(name, packet, client);
      const answer = () => {
        // Over another connection the packet id may mean another message.
        if (client.stream === stream) acknowledge(0);
      };
      if (taken === undefined) answer();
      else void taken.then(answer);
    };
    client.handleMessage = (packet, done) => {
      if (packet.qos === 2) this.#unreleased.delete(packet.messageId ?? 0);
      if (packet.qos !== 0) return done();
      const taken = this.#take(topic, packet, client);
      const goOn = () => done();
      if (taken === undefined) goOn();
      else void taken.then(goOn);
    };
  }

  /** To be called after each CONNACK: a new session knows nothing of what the last one had begun. */
  onSession(sessionPresent: boolean): void {
    if (!sessionPresent) this.#unreleased.clear();
  }

  /** To be called after a lost connection is there again. */
  onReconnected(connection: Connection, sessionPresent: boolean): void {
    // What it rejects with ends the connection, and is told where that is waited for.
    if (!sessionPresent || !this.#answered) this.subscribe(connection).catch(() => {});
  }

  /**
   * Subscribes to all filters. Fails the connection with {ServerRefusedError} when the server grants none of them.
   */
  async subscribe(connection: Connection): Promise<void> {
    const { qos, noLocal: nl, retainAsPublished: rap, retainHandling: rh } = this.#request;
    const { client } = connection;
    const version5 = { nl, rap, rh, properties: toSubscribeProperties(this.#request.properties) };
    const options = this.#request.protocolVersion === 5 ? { qos, ...version5 } : { qos };
    const answer = Promise.withResolvers<readonly number[] | undefined>();
    const filters = [...this.#filters];
    client.subscribe(filters, options, (_error, _grants, packet) => {
      answer.resolve(packet === undefined ? undefined : packet.granted.map(Number));
    });
    const codes = await connection.guard(answer.promise);
    // The connection broke before the answer: it is asked again on the next one.
    if (codes !== undefined) this.#onAnswer(connection, filters, codes);
  }

  #onAnswer(connection: Connection, filters: readonly string[], codes: readonly number[]): void {
    this.#answered = true;
    const { qos } = this.#request;
    const refused = filters.filter((_, index) => (codes[index] ?? ReasonCode.unspecifiedError) >= 0x80);
    const sentences = refused.map((filter) => {
      const code = codes[filters.indexOf(filter)] ?? ReasonCode.unspecifiedError;
      return { code, text: `the server refused the subscription to "${filter}": ${reasonText(code)}` };
    });
    const [first] = sentences;
    if (first !== undefined && refused.length === filters.length) {
      connection.fail(new ServerRefusedError(sentences.map(({ text }) => text).join("; "), first.code));
      return;
    }
    for (const { text } of sentences) this.#reporter.notice(`${text}; going on with the others`);
    this.#filters = filters.filter((filter) => !refused.includes(filter));
    for (const filter of this.#filters) {
      const granted = codes[filters.indexOf(filter)] ?? qos;
      const less = granted < qos ? `, not ${qos} as asked for` : "";
      this.#reporter.detail(`subscribed to "${filter}" with QoS ${granted}${less}`);
    }
  }

  /** `undefined` when the message was taken. Never resolves once there are enough: what follows stays with the server. */
  #take(topic: string, packet: IPublishPacket, client: MqttClient): Promise<unknown> | undefined {
    const { qos, retain, dup } = packet;
    const packetId = packet.messageId ?? 0;
    if (qos === 2 && this.#unreleased.has(packetId)) return undefined;
    if (this.#remaining === 0) return new Promise(() => {});
    const payload = typeof packet.payload === "string" ? Buffer.from(packet.payload, "utf8") : packet.payload;
    const properties = fromPublishProperties(packet.properties);
    const inspected = this.#inspect({ topic, payload, qos, retain, dup, properties });
    if (qos === 2) this.#unreleased.add(packetId);
    if (inspected === undefined) return undefined;
    this.#remaining--;
    const taken = this.#receive(inspected.message);
    // The acknowledgement is written when this turn of the event loop ends.
    const finish = () => {
      inspected.settled();
      if (this.#remaining === 0) setImmediate(this.#complete.resolve);
    };
    if (taken === undefined) {
      finish();
      return undefined;
    }
    return keepAlive(client, taken).then(finish);
  }
}

/**
 * While nothing is read, no PINGRESP is either: pings go on, and their answers are not waited for.
 * @see MQTT 5.0 §3.1.2.10
 */
async function keepAlive(client: MqttClient, work: Promise<unknown>): Promise<void> {
  const seconds = client.keepalive;
  const timer =
    seconds === 0
      ? undefined
      : setInterval(() => {
          if (!client.connected) return;
          client.sendPing();
          client.reschedulePing(true);
        }, seconds * 500);
  try {
    await work;
  } finally {
    clearInterval(timer);
  }
}
