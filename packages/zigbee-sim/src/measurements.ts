import { batteryDays } from "./radio/energy.ts";
import { type Simulation } from "./simulation.ts";

/** What a run was worth, from the end of the warm-up on. Shares are from 0 to 1; what cannot be said is `NaN`. */
export interface Measurements {
  /** Messages that arrived, of those that were sent. */
  readonly delivery: number;
  readonly messages: number;
  /** Messages that their sender believes to have arrived, and that did not. */
  readonly deceived: number;
  /** From the event to its arrival. */
  readonly latencyMedianMs: number;
  readonly latencyWorstMs: number;
  /** How long the cell of the sleeping device that takes most would last. Computed, not measured. */
  readonly batteryDays: number;
  /** Part of the time that the channel was in use by frames. */
  readonly airtimeShare: number;
  /** Most entries of any device. */
  readonly childrenPeak: number;
  readonly broadcastTablePeak: number;
  readonly neighboursPeak: number;
  /** Devices that the trust centre knows at the end. */
  readonly devicesKnown: number;
  readonly joined: number;
  readonly losses: number;
  readonly forgedAccepted: number;
  readonly replayedAccepted: number;
  readonly frames: number;
}

/** Charges of the sleeping devices at one time, by name. */
export type Charges = ReadonlyMap<string, number>;

/** What each sleeping device has taken until now, in microcoulombs. */
function charges({ devices, queue }: Simulation): Charges {
  const sleeping = devices.filter(({ plan }) => plan.sleeps);
  return new Map(sleeping.map(({ plan, mac }) => [plan.name, mac.radio.energy.charge(queue.nowUs)]));
}

/** Lets a simulation run to its end and measures it. */
export function measuredRun(simulation: Simulation): Measurements {
  const { scenario } = simulation;
  simulation.run(scenario.warmUpSeconds);
  const before = charges(simulation);
  const airtimeBeforeUs = simulation.medium.airtimeUs;
  simulation.run();
  return measure(simulation, before, airtimeBeforeUs);
}

function most(values: readonly number[]): number {
  return Math.max(0, ...values);
}

function measure(simulation: Simulation, before: Charges, airtimeBeforeUs: number): Measurements {
  const { devices, truth, scenario, frames, coordinator, medium } = simulation;
  const startUs = scenario.warmUpSeconds * 1_000_000;
  const durationUs = (scenario.seconds - scenario.warmUpSeconds) * 1_000_000;
  // What was sent in the last seconds could not all arrive.
  const messages = truth.messages.filter(
    ({ sentUs }) => sentUs >= startUs && sentUs < startUs + durationUs - 5_000_000,
  );
  const arrived = messages.filter(({ deliveredUs }) => deliveredUs !== undefined);
  const latencies = arrived
    .map(({ sentUs, deliveredUs }) => ((deliveredUs ?? sentUs) - sentUs) / 1_000)
    .toSorted((a, b) => a - b);
  const days = [...charges(simulation)].map(([name, charge]) =>
    batteryDays(charge - (before.get(name) ?? 0), durationUs),
  );
  return {
    delivery: messages.length === 0 ? Number.NaN : arrived.length / messages.length,
    messages: messages.length,
    deceived: messages.filter(
      ({ believed, deliveredUs }) => believed === "arrived" && deliveredUs === undefined,
    ).length,
    latencyMedianMs: latencies[latencies.length >> 1] ?? Number.NaN,
    latencyWorstMs: latencies.at(-1) ?? Number.NaN,
    batteryDays: days.length === 0 ? Number.NaN : Math.min(...days),
    airtimeShare: (medium.airtimeUs - airtimeBeforeUs) / durationUs,
    childrenPeak: most(devices.map(({ parent }) => parent.peakChildren)),
    broadcastTablePeak: most(devices.map(({ nwk }) => nwk.broadcasts.peak)),
    neighboursPeak: most(devices.map(({ nwk }) => nwk.routing.peakNeighbours)),
    devicesKnown: coordinator.trustCentre?.devices.length ?? 0,
    joined: devices.filter(({ membership }) => membership.joinedUs !== undefined).length,
    losses: truth.losses,
    forgedAccepted: truth.forgedAccepted,
    replayedAccepted: truth.replayedAccepted,
    frames: frames.length,
  };
}
