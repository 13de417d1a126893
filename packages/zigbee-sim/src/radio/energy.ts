/** What the radio and the processor of a device do. */
export type PowerState = "asleep" | "awake" | "listening" | "sending";

/** Currents of a CC2530-class device in milliamperes, from its data sheet; awake: the processor alone. */
const currentMilliamperes: Readonly<Record<PowerState, number>> = {
  asleep: 0.001,
  awake: 6.5,
  listening: 24.3,
  sending: 28.7,
};

/** A CR2032 cell. */
const batteryMilliampereHours = 225;

/** Adds up the charge that a device takes. Computed, not measured. */
export class EnergyMeter {
  state: PowerState = "asleep";
  #sinceUs = 0;
  #microcoulombs = 0;

  /** The device does something else from now on. */
  change(state: PowerState, nowUs: number): void {
    this.#microcoulombs += (currentMilliamperes[this.state] * (nowUs - this.#sinceUs)) / 1_000;
    this.#sinceUs = nowUs;
    this.state = state;
  }

  /** Work of the processor beside what the radio does. */
  work(durationUs: number): void {
    this.#microcoulombs += (currentMilliamperes.awake * durationUs) / 1_000;
  }

  /** Charge in microcoulombs until now. */
  charge(nowUs: number): number {
    this.change(this.state, nowUs);
    return this.#microcoulombs;
  }
}

/** The mean current of a device whose CR2032 lasts so many days. */
export function meanMicroamperes(days: number): number {
  return (batteryMilliampereHours * 1_000) / (24 * days);
}

/** How many days a CR2032 lasts when this charge is taken in this time. */
export function batteryDays(microcoulombs: number, durationUs: number): number {
  const milliamperes = (microcoulombs / durationUs) * 1_000;
  return batteryMilliampereHours / milliamperes / 24;
}
