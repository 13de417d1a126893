import { type Dissection } from "@postern/zigbee/dissection";
import { Dissector } from "@postern/zigbee/dissector";
import { type Eui64 } from "@postern/zigbee/eui64";
import { Harvester } from "@postern/zigbee/harvest";
import { Keyring } from "@postern/zigbee/keyring";
import { knownKeys } from "@postern/zigbee/known-keys";
import { NwkFrameType } from "@postern/zigbee/nwk/nwk-frame";

import { type EventQueue } from "../event-queue.ts";
import { type Place, Radio } from "../radio/medium.ts";
import { type Random } from "../random.ts";
import { type Simulation } from "../simulation.ts";

/** A device that was heard speaking. */
export interface Heard {
  readonly short: number;
  readonly address: Eui64;
}

/**
 * An attacker: a radio that listens to everything, reads it with whatever keys it has or finds, as our own auditor would, and sends
 * what it likes. Knows nothing of the simulation but what it hears.
 */
export class Attacker {
  readonly simulation: Simulation;
  readonly queue: EventQueue;
  readonly random: Random;
  readonly radio: Radio;
  readonly keyring = new Keyring();
  /** NWK data frames that were heard, and those that could be read to the end. */
  heard = 0;
  read = 0;
  /** The PAN id that is in use now. */
  pan: number;
  /** Devices by short address. */
  readonly devices = new Map<number, Heard>();
  onDissected: (dissection: Dissection) => void = () => {};
  readonly #dissector = new Dissector(this.keyring);
  readonly #harvester = new Harvester(this.keyring);
  #frames = 0;
  #knownBefore: number;

  constructor(
    simulation: Simulation,
    place: Place,
    options: { readonly powerDbm?: number; readonly name?: string } = {},
  ) {
    this.simulation = simulation;
    this.queue = simulation.queue;
    const name = options.name ?? "attacker";
    this.random = simulation.random.derive(name);
    const { scenario, medium } = simulation;
    this.pan = scenario.pan;
    this.radio = new Radio(name, place, scenario.channel, options.powerDbm ?? 4);
    for (const { hex, uses, name: known } of knownKeys) {
      for (const use of uses)
        this.keyring.add(Buffer.from(hex, "hex"), use, { kind: "well-known", name: known });
    }
    this.#knownBefore = this.keyring.size;
    medium.attach(this.radio);
    this.radio.onFrame = (bytes, rssi, startUs) => this.#receive(bytes, rssi, startUs);
  }

  /** Begins to listen, in so many seconds. */
  listenFrom(seconds: number): void {
    this.queue.after(seconds * 1_000_000, () => this.simulation.medium.setState(this.radio, "listening"));
  }

  /** Does something again and again, from `fromSeconds` on, until it returns false. */
  every(fromSeconds: number, periodUs: () => number, action: () => boolean | void): void {
    const next = (): void => {
      if (action() !== false) this.queue.after(Math.max(1, periodUs()), next);
    };
    this.queue.after(fromSeconds * 1_000_000, next);
  }

  /** A key that the attacker has got by other means. */
  steal(bytes: Uint8Array, use: "network" | "link"): void {
    this.keyring.add(bytes, use, { kind: "given" });
  }

  note(what: string): void {
    this.simulation.truth.note(this.radio.name, what, "attack");
  }

  /** Sends at once, whether the channel is free or not; false while another frame is going out. */
  send(bytes: Uint8Array, onSent: () => void = () => {}): boolean {
    if (this.radio.energy.state === "sending") return false;
    const { medium } = this.simulation;
    medium.send(this.radio, bytes, () => {
      medium.setState(this.radio, "listening");
      onSent();
    });
    return true;
  }

  /** Sends when the channel is free. */
  sendPolitely(bytes: Uint8Array): void {
    if (this.radio.energy.state !== "sending" && !this.simulation.medium.isOccupied(this.radio)) {
      this.send(bytes);
    } else {
      this.queue.after(300 + this.random.below(2_000), () => this.sendPolitely(bytes));
    }
  }

  /** Keys that the attacker has learnt or stolen. */
  get keysLearnt(): number {
    return this.keyring.size - this.#knownBefore;
  }

  /** Part of the data frames that it has read. */
  get readShare(): number {
    return this.heard === 0 ? 0 : this.read / this.heard;
  }

  #receive(bytes: Uint8Array, rssi: number, startUs: number): void {
    const frame = {
      number: ++this.#frames,
      timeUs: startUs,
      bytes,
      frameCheck: "good",
      rssi,
      channel: this.radio.channel,
    } as const;
    const dissection = this.#dissector.dissect(frame);
    this.#harvester.take(dissection);
    const { nwk, mac } = dissection;
    if (nwk !== undefined) {
      this.pan = mac.destinationPan;
      const source = nwk.auxiliary?.source;
      if (source !== undefined)
        this.devices.set(mac.sourceShort, { short: mac.sourceShort, address: source });
      if (nwk.frameType === NwkFrameType.data && nwk.security) {
        this.heard++;
        const isOpen = dissection.nwkProtection === "opened" && dissection.apsProtection !== "unopened";
        if (isOpen) this.read++;
      }
    }
    this.onDissected(dissection);
  }
}
