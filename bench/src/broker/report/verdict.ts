import { scenarios } from "../scenarios.ts";
import type { Summary } from "./summary.ts";
import { milliseconds } from "./table.ts";

/** Of a message at 1,000 a second on loopback, for 99 of 100. */
const latencyGoalMicroseconds = 1_000;

/** Whether the latency is what we promise; empty for scenarios that are not about it. */
export function latencyVerdict({ scenario, p99Microseconds }: Summary): string {
  const group = scenarios.find(({ name }) => name === scenario)?.group;
  if (group !== "latency" || p99Microseconds === undefined) return "";
  const isMet = p99Microseconds <= latencyGoalMicroseconds;
  return `p99 ${isMet ? "within" : "above"} ${milliseconds(latencyGoalMicroseconds)} ms`;
}
