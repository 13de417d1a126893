import type { ProtocolVersion } from "@postern/mqtt/packets";

import { request } from "../packets.ts";
import type { Random } from "../random.ts";
import type { Address } from "../wire-client.ts";
import { Participant } from "./participant.ts";

const filterCount = 6;

/** `either`: it was asked for, and the answer was lost. */
type State = "on" | "off" | "either";

/** Subscribes and unsubscribes all the time, and checks that it gets what its acknowledged subscriptions say. */
export class Toggler {
  readonly participant: Participant;
  readonly #random: Random;
  readonly #states: State[] = Array.from({ length: filterCount }, () => "off");
  #isBusy = false;
  #probe = 0;
  #got = new Set<string>();

  constructor(name: string, version: ProtocolVersion, random: Random) {
    this.participant = new Participant({ clientId: name, version });
    this.#random = random;
    this.participant.client.onMessage = ({ payload }) => this.#got.add(payload.toString());
  }

  /** Subscribes to what tells it that all probes have come. */
  async subscribe(address: Address): Promise<void> {
    await this.participant.join(address);
    await this.participant.client.subscribe([request(this.#topic("end"), 1)]);
  }

  /** Changes one subscription, if the last change was answered. */
  async toggle(): Promise<void> {
    const { client } = this.participant;
    if (this.#isBusy || !client.isConnected) return;
    this.#isBusy = true;
    const index = this.#random.below(filterCount);
    const before = this.#states[index] ?? "off";
    const wanted =
      before === "on" ? "off" : before === "off" ? "on" : this.#random.pick(["on", "off"] as const);
    this.#states[index] = "either";
    const filter = this.#topic(`${index}`);
    const codes = await (wanted === "on"
      ? client.subscribe([request(filter, 1)])
      : client.unsubscribe([filter]));
    if (codes !== undefined) {
      this.#states[index] = wanted;
      this.#checkCodes(filter, { before, wanted, codes });
    }
    this.#isBusy = false;
  }

  /** Has a message published on every topic and sees which come. Nothing may be toggled meanwhile. */
  async check(address: Address): Promise<void> {
    if (!(await this.participant.join(address))) return;
    this.#got = new Set();
    this.#probe += 1;
    const prober = new Participant({ clientId: `${this.participant.name}-prober`, version: 4 });
    if (!(await prober.join(address, { keeps: false, cleanStart: true }))) return;
    const ends = [...this.#states.keys()].map(String);
    for (const end of [...ends, "end"])
      prober.client.publish({ topic: this.#topic(end), payload: `${this.#probe} ${end}`, qos: 1 });
    const deadline = performance.now() + 10_000;
    while (!this.#got.has(`${this.#probe} end`) && performance.now() < deadline) {
      this.participant.client.flushAcks();
      await new Promise((done) => setTimeout(done, 2));
    }
    for (const [index, state] of this.#states.entries()) {
      const came = this.#got.has(`${this.#probe} ${index}`);
      if (state !== "either" && came !== (state === "on"))
        this.#fault(`${this.#topic(`${index}`)} is ${state}, a message ${came ? "came" : "did not come"}`);
      this.#states[index] = came ? "on" : "off";
    }
    if (!this.#got.has(`${this.#probe} end`)) this.#fault("the first subscription is gone");
    await prober.client.disconnect();
  }

  #checkCodes(
    filter: string,
    {
      before,
      wanted,
      codes,
    }: { readonly before: State; readonly wanted: State; readonly codes: readonly number[] },
  ): void {
    const [code] = codes;
    // Before MQTT 5 an UNSUBACK has none.
    if (code === undefined || (wanted === "off" && before === "either")) return;
    const expected = wanted === "on" ? 1 : 0;
    if (code !== expected) this.#fault(`${filter} was turned ${wanted}, the answer is ${code}`);
  }

  #topic(end: string): string {
    return `toggled/${this.participant.name}/${end}`;
  }

  #fault(fault: string): void {
    this.participant.faults.push(`${this.participant.name}: ${fault}`);
  }
}
