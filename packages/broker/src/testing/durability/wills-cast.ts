import { noProperties, type Will } from "@postern/mqtt/packets";

import { request } from "../packets.ts";
import type { Random } from "../random.ts";
import type { Address } from "../wire-client.ts";
import { Participant } from "./participant.ts";

/** What must become of a will: published once, at most once because nobody knows, or never. */
type Fate = "once" | "perhaps" | "never";

/** How long a will waits that must be published soon. */
const soonSeconds = 1;
const neverSeconds = 3_000;

/**
 * Clients with wills that are cut off, killed with the server, come back in time, or take their leave; and a watcher
 * that is owed each will that is due once. @see MQTT 5.0 §3.1.2.5, §3.1.3.2.2
 */
export class WillsCast {
  readonly watcher = new Participant({ clientId: "wills-watcher", version: 5 });
  readonly #random: Random;
  readonly #fates = new Map<string, Fate>();
  readonly #published = new Map<string, number>();
  readonly #faults: string[] = [];
  #count = 0;
  /** Those in the middle of their scene. */
  readonly #acting = new Set<Participant>();
  /** Those whose will is not due as long as they come back. */
  #returning: Participant[] = [];
  /** Those that stay away once their connection is gone. */
  #leaving: Participant[] = [];

  constructor(random: Random) {
    this.#random = random;
    this.watcher.client.onMessage = ({ payload }) => {
      const text = payload.toString();
      this.#published.set(text, (this.#published.get(text) ?? 0) + 1);
    };
  }

  get participants(): readonly Participant[] {
    return [this.watcher, ...this.#acting, ...this.#returning, ...this.#leaving];
  }

  async subscribe(address: Address): Promise<void> {
    await this.watcher.join(address);
    await this.watcher.client.subscribe([request("wills/#", 2)]);
  }

  /** A new client with a will enters; what becomes of it is decided by the next crash, or sooner. */
  async enter(address: Address): Promise<void> {
    this.#count += 1;
    const scenes = ["killed", "cut", "back", "leave"] as const;
    const scene = this.#random.pick(scenes);
    const participant = new Participant({ clientId: `wills/${scene}/${this.#count}`, version: 5 });
    this.#acting.add(participant);
    await this.#play(scene, participant, address);
    this.#acting.delete(participant);
  }

  /** Those come back whose will is not to be published; the others are gone for good. */
  async recover(address: Address): Promise<void> {
    const returning = this.#returning;
    this.#returning = [];
    for (const participant of this.#leaving.splice(0)) {
      participant.cut();
      this.#faults.push(...participant.allFaults);
    }
    for (const participant of returning) {
      // Not let in: whether it was in time is not known.
      if (!(await participant.join(address))) this.#fates.set(participant.name, "perhaps");
      else participant.cut();
      this.#faults.push(...participant.allFaults);
    }
  }

  /** What is not as it must be; to be asked when all wills that are due soon have been published. */
  problems(): string[] {
    const problems = [...this.#faults];
    for (const [text, fate] of this.#fates) {
      const count = this.#published.get(text) ?? 0;
      const isRight = fate === "once" ? count === 1 : fate === "never" ? count === 0 : count <= 1;
      if (!isRight) problems.push(`the will of ${text} was published ${count} times, not ${fate}`);
    }
    return problems;
  }

  /** Wills that must still be published. */
  get owedCount(): number {
    let owed = 0;
    for (const [text, fate] of this.#fates) if (fate === "once" && !this.#published.has(text)) owed += 1;
    return owed;
  }

  #play(
    scene: "killed" | "cut" | "back" | "leave",
    participant: Participant,
    address: Address,
  ): Promise<void> {
    switch (scene) {
      case "killed":
        return this.#killedWithServer(participant, address);
      case "cut":
        return this.#cutBefore(participant, address);
      case "back":
        return this.#comesBack(participant, address);
      case "leave":
        return this.#takesLeave(participant, address);
    }
  }

  async #killedWithServer(participant: Participant, address: Address): Promise<void> {
    const keeps = this.#random.chance(0.5);
    const letIn = await participant.join(address, {
      keeps,
      cleanStart: !keeps,
      will: this.#will(participant, keeps ? this.#random.pick([0, soonSeconds]) : 0),
    });
    this.#fates.set(participant.name, letIn ? "once" : "perhaps");
    this.#leaving.push(participant);
  }

  async #cutBefore(participant: Participant, address: Address): Promise<void> {
    const delaySeconds = this.#random.pick([0, soonSeconds]);
    const letIn = await participant.join(address, { will: this.#will(participant, delaySeconds) });
    this.#fates.set(participant.name, letIn ? "once" : "perhaps");
    participant.cut();
    this.#faults.push(...participant.allFaults);
  }

  async #comesBack(participant: Participant, address: Address): Promise<void> {
    const letIn = await participant.join(address, { will: this.#will(participant, neverSeconds) });
    this.#fates.set(participant.name, letIn ? "never" : "perhaps");
    if (this.#random.chance(0.3)) participant.cut();
    this.#returning.push(participant);
  }

  async #takesLeave(participant: Participant, address: Address): Promise<void> {
    this.#fates.set(participant.name, "perhaps");
    if (!(await participant.join(address, { will: this.#will(participant, 0) }))) return;
    await participant.client.disconnect();
    // Nothing acknowledges a DISCONNECT; the next CONNACK says that what came before it is on disk.
    if (await participant.join(address)) this.#fates.set(participant.name, "never");
    participant.cut();
    this.#faults.push(...participant.allFaults);
  }

  #will({ name }: Participant, delaySeconds: number): Will {
    const properties = delaySeconds === 0 ? noProperties : { willDelayInterval: delaySeconds };
    return { topic: `wills/${name}`, payload: Buffer.from(name), qos: 2, retain: false, properties };
  }
}
