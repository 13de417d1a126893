import { noProperties, type ProtocolVersion } from "@postern/mqtt/packets";

import { connectPacket, HandClient } from "../hand-client.ts";
import { request, subscribePacket } from "../packets.ts";
import type { OwnMessage } from "../persistent-client.ts";
import type { Random } from "../random.ts";
import type { Address } from "../wire-client.ts";
import { Participant } from "./participant.ts";

const topicCount = 6;

/** What was done to one topic, in order: a number is set as the retained message, or it is cleared. */
interface History {
  readonly operations: ("set" | "clear")[];
  /** Operations from the first on that the server has acknowledged. */
  acknowledged: number;
}

/** Sets and clears retained messages, and checks that what is there is the last acknowledged one or a later one. */
export class RetainedWriter {
  readonly participant: Participant;
  readonly #random: Random;
  readonly #histories = new Map<string, History>();
  readonly #numbers = new Map<OwnMessage, number>();

  constructor(name: string, version: ProtocolVersion, random: Random) {
    this.participant = new Participant({ clientId: name, version, inFlightMax: 20 });
    this.#random = random;
    for (let index = 0; index < topicCount; index += 1)
      this.#histories.set(`retained/${name}/${index}`, { operations: [], acknowledged: 0 });
    this.participant.client.onAcknowledged = (message) => this.#acknowledged(message);
  }

  write(): void {
    if (this.participant.client.unacknowledgedCount > 30) return;
    const [topic, history] = this.#random.pick([...this.#histories]);
    const operation = this.#random.chance(0.25) ? "clear" : "set";
    history.operations.push(operation);
    const number = history.operations.length;
    // One QoS for each topic: across QoS levels there is no order.
    const qos = topic.endsWith("1") || topic.endsWith("3") ? 2 : 1;
    const message: OwnMessage = { topic, payload: operation === "set" ? `${number}` : "", qos, retain: true };
    this.#numbers.set(message, number);
    this.participant.client.publish(message);
  }

  /** Reads all topics as a newcomer would. */
  async check(address: Address): Promise<void> {
    const least = new Map([...this.#histories].map(([topic, history]) => [topic, history.acknowledged]));
    const reader = await HandClient.connected(
      address,
      connectPacket(`${this.participant.name}-reader`, 4, {
        properties: noProperties,
      }),
    );
    reader.send(subscribePacket(4, 1, [request(`retained/${this.participant.name}/#`)]));
    await reader.take("suback");
    await reader.ping();
    const found = new Map<string, number>();
    for (const packet of reader.received)
      if (packet.kind === "publish" && packet.retain)
        found.set(packet.topic, Number(packet.payload.toString()));
    await reader[Symbol.asyncDispose]();
    for (const [topic, history] of this.#histories)
      this.#compare(topic, history, { least: least.get(topic) ?? 0, found: found.get(topic) });
  }

  #compare(
    topic: string,
    { operations }: History,
    { least, found }: { readonly least: number; readonly found: number | undefined },
  ): void {
    const isRight =
      found === undefined
        ? least === 0 || operations.slice(least - 1).includes("clear")
        : found >= Math.max(least, 1) && operations[found - 1] === "set";
    if (isRight) return;
    const state = found === undefined ? "nothing is there" : `${found} is there`;
    this.participant.faults.push(
      `${topic}: ${state}, ${least} was acknowledged of ${operations.length}: ${operations.slice(-6).join(", ")}`,
    );
  }

  #acknowledged(message: OwnMessage): void {
    const history = this.#histories.get(message.topic);
    const number = this.#numbers.get(message);
    this.#numbers.delete(message);
    if (history !== undefined && number !== undefined)
      history.acknowledged = Math.max(history.acknowledged, number);
  }
}
