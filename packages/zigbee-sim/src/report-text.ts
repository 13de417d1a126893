import { type Measurements } from "./measurements.ts";
import { type Simulation } from "./simulation.ts";

/** A number with a unit, or a dash where there is none. */
export function quantity(value: number, digits: number, unit = ""): string {
  return Number.isFinite(value) ? `${value.toFixed(digits)}${unit}` : "-";
}

/** The measurements of a run in words, a line each. */
export function measurementLines(
  measured: Measurements,
): readonly (readonly [name: string, value: string])[] {
  const { airtimeShare, delivery } = measured;
  return [
    ["devices joined", String(measured.joined)],
    ["messages delivered", `${quantity(100 * delivery, 1, " %")} of ${measured.messages}`],
    [
      "latency",
      `median ${quantity(measured.latencyMedianMs, 1)} ms, worst ${quantity(measured.latencyWorstMs, 0)} ms`,
    ],
    ["shortest battery life", quantity(measured.batteryDays, 0, " days (CR2032, computed)")],
    ["channel in use", quantity(100 * airtimeShare, 2, " %")],
    [
      "largest tables",
      `${measured.childrenPeak} children, ${measured.neighboursPeak} neighbours, ${measured.broadcastTablePeak} broadcasts`,
    ],
    ["lost networks", String(measured.losses)],
    ["messages taken that nobody sent", String(measured.forgedAccepted + measured.replayedAccepted)],
    ["frames recorded", String(measured.frames)],
  ];
}

/** The report of a run for a terminal. */
export function simulationText(simulation: Simulation, measured: Measurements, seed: number): string {
  const { scenario } = simulation;
  const head = `${scenario.name}: ${scenario.nodes.length} devices, ${scenario.seconds} s, seed ${seed}`;
  const lines = measurementLines(measured).map(([name, value]) => `  ${name.padEnd(34)}${value}`);
  return `${[head, ...lines].join("\n")}\n`;
}
