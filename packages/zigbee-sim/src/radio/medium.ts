import { type EventQueue } from "../event-queue.ts";
import { type Random } from "../random.ts";
import { EnergyMeter } from "./energy.ts";
import { frameUs } from "./timing.ts";

/** A place in metres. */
export interface Place {
  readonly x: number;
  readonly y: number;
}

/** Noise of the receiver itself. */
const noiseFloorDbm = -98;
/** What is weaker is not noticed at all. */
const sensitivityDbm = -96;
/** A channel with this much on it counts as occupied. */
const occupiedDbm = -82;

/** What is on the air: a frame, or noise. */
export interface Transmission {
  /** `undefined`: noise. */
  readonly bytes: Uint8Array | undefined;
  readonly place: Place;
  readonly powerDbm: number;
  readonly channel: number;
  readonly startUs: number;
  readonly endUs: number;
  /** Who sends, for tests and reports; never seen by receivers. */
  readonly sender: string;
  readonly overlapping: Transmission[];
}

/** Loss of power over a distance indoors. @see IEEE 802.15.2, annex on the model of path loss */
function pathLossDb(from: Place, to: Place): number {
  const metres = Math.max(0.5, Math.hypot(from.x - to.x, from.y - to.y));
  return metres <= 8 ? 40.2 + 20 * Math.log10(metres) : 58.5 + 33 * Math.log10(metres / 8);
}

function milliwatts(dbm: number): number {
  return 10 ** (dbm / 10);
}

/** Part of the frames of this length that arrive, by the ratio of signal to noise in decibels. */
function arrivingShare(ratioDb: number, bytes: number): number {
  const block = 1 / (1 + Math.exp(-2.2 * (ratioDb - 1.5)));
  return block ** (bytes / 40);
}

/** The radio of one device. */
export class Radio {
  readonly name: string;
  readonly place: Place;
  readonly powerDbm: number;
  readonly energy = new EnergyMeter();
  channel: number;
  /** Called with each frame that arrives whole, without check sequence, and its strength in dBm. */
  onFrame: (bytes: Uint8Array, rssi: number, startUs: number) => void = () => {};
  listeningSinceUs = 0;

  constructor(name: string, place: Place, channel: number, powerDbm = 0) {
    this.name = name;
    this.place = place;
    this.channel = channel;
    this.powerDbm = powerDbm;
  }
}

/** Sees what a sniffer would record. */
export type Observer = (transmission: Transmission) => void;

/** The air between all radios: range, loss, collisions, interference. */
export class Medium {
  readonly #queue: EventQueue;
  readonly #random: Random;
  readonly #radios: Radio[] = [];
  readonly #shadows = new Map<string, number>();
  /** Luck of each receiver: one more who listens changes nothing for the others. */
  readonly #luck = new Map<string, Random>();
  readonly #active = new Set<Transmission>();
  readonly #lossShare: number;
  readonly #shadowDb: number;
  onTransmission: Observer = () => {};
  /** Called when a frame begins, for attackers that read its header while it is still on the air. */
  onBegin: Observer = () => {};
  /** Time on air of all frames. */
  airtimeUs = 0;

  constructor(
    queue: EventQueue,
    random: Random,
    options: { readonly lossShare: number; readonly shadowDb: number },
  ) {
    this.#queue = queue;
    this.#random = random;
    this.#lossShare = options.lossShare;
    this.#shadowDb = options.shadowDb;
  }

  attach(radio: Radio): void {
    this.#radios.push(radio);
  }

  /** The device does something else. */
  setState(radio: Radio, state: EnergyMeter["state"]): void {
    if (radio.energy.state === state) return;
    if (state === "listening") radio.listeningSinceUs = this.#queue.nowUs;
    radio.energy.change(state, this.#queue.nowUs);
  }

  /** Moves a radio to another channel; what it was receiving is lost. */
  tune(radio: Radio, channel: number): void {
    radio.channel = channel;
    radio.listeningSinceUs = this.#queue.nowUs;
  }

  /** Whether the channel of a listening radio is occupied where it stands. */
  isOccupied(radio: Radio): boolean {
    let power = 0;
    for (const transmission of this.#active) {
      if (transmission.channel !== radio.channel || transmission.place === radio.place) continue;
      power += milliwatts(this.#strength(transmission, radio.place, radio.name));
    }
    return power > milliwatts(occupiedDbm);
  }

  /** Sends a frame, without check sequence, and calls `onSent` when its last byte is out. */
  send(radio: Radio, bytes: Uint8Array, onSent: () => void): void {
    this.setState(radio, "sending");
    const transmission = this.#begin({
      bytes,
      place: radio.place,
      powerDbm: radio.powerDbm,
      channel: radio.channel,
      sender: radio.name,
      durationUs: frameUs(bytes.length),
    });
    this.airtimeUs += transmission.endUs - transmission.startUs;
    this.onBegin(transmission);
    const heard = this.#radios.filter(
      (other) =>
        other !== radio &&
        other.channel === radio.channel &&
        other.energy.state === "listening" &&
        this.#strength(transmission, other.place, other.name) >= sensitivityDbm,
    );
    this.#queue.at(transmission.endUs, () => {
      this.#active.delete(transmission);
      this.setState(radio, "awake");
      this.onTransmission(transmission);
      // Who sends first goes on first: the receivers' answers come after it.
      onSent();
      for (const receiver of heard) this.#arrive(transmission, bytes, receiver);
    });
  }

  /** Noise of something that is no radio of ours, or of a jammer. */
  noise(source: {
    readonly place: Place;
    readonly powerDbm: number;
    readonly channel: number;
    readonly durationUs: number;
    readonly sender: string;
  }): void {
    const transmission = this.#begin({ ...source, bytes: undefined });
    this.#queue.at(transmission.endUs, () => this.#active.delete(transmission));
  }

  /** How strong `transmission` is at a place, and whether it arrives whole there. */
  reception(
    transmission: Transmission,
    at: { readonly place: Place; readonly name: string },
    random: Random,
  ): { readonly rssi: number; readonly noticed: boolean; readonly whole: boolean } {
    const rssi = this.#strength(transmission, at.place, at.name);
    let disturbance = milliwatts(noiseFloorDbm);
    for (const other of transmission.overlapping) {
      disturbance += milliwatts(this.#strength(other, at.place, at.name));
    }
    const ratioDb = rssi - 10 * Math.log10(disturbance);
    const share = arrivingShare(ratioDb, transmission.bytes?.length ?? 0) * (1 - this.#lossShare);
    return { rssi, noticed: rssi >= sensitivityDbm && ratioDb > -3, whole: random.fraction() < share };
  }

  #begin(source: {
    readonly bytes: Uint8Array | undefined;
    readonly place: Place;
    readonly powerDbm: number;
    readonly channel: number;
    readonly sender: string;
    readonly durationUs: number;
  }): Transmission {
    const { durationUs, ...rest } = source;
    const startUs = this.#queue.nowUs;
    const overlapping: Transmission[] = [];
    const transmission: Transmission = { ...rest, startUs, endUs: startUs + durationUs, overlapping };
    for (const other of this.#active) {
      if (other.channel !== transmission.channel) continue;
      other.overlapping.push(transmission);
      overlapping.push(other);
    }
    this.#active.add(transmission);
    return transmission;
  }

  #arrive(transmission: Transmission, bytes: Uint8Array, receiver: Radio): void {
    const listened =
      receiver.energy.state === "listening" &&
      receiver.channel === transmission.channel &&
      receiver.listeningSinceUs <= transmission.startUs;
    if (!listened) return;
    let luck = this.#luck.get(receiver.name);
    if (luck === undefined) {
      luck = this.#random.derive(`reception ${receiver.name}`);
      this.#luck.set(receiver.name, luck);
    }
    const { rssi, whole } = this.reception(transmission, receiver, luck);
    if (whole) receiver.onFrame(bytes, Math.round(rssi), transmission.startUs);
  }

  #strength(transmission: Transmission, to: Place, name: string): number {
    const pair =
      transmission.sender < name ? `${transmission.sender} ${name}` : `${name} ${transmission.sender}`;
    let shadow = this.#shadows.get(pair);
    if (shadow === undefined) {
      // Walls are where they are: the same in both directions, and whatever else happens.
      const loss = pathLossDb(transmission.place, to);
      shadow = loss + this.#shadowDb * this.#random.derive(`shadow ${pair}`).normal();
      this.#shadows.set(pair, shadow);
    }
    return transmission.powerDbm - shadow;
  }
}
