import { scenarios } from "../scenarios.ts";
import type { Summary } from "./summary.ts";
import { milliseconds } from "./table.ts";

/** Of a message at 1,000 a second on loopback, for 99 of 100. */
const latencyGoalMicroseconds = 1_000;
const limitLine = "relay";

/**
 * Whether the latency is what we promise; empty for scenarios that are not about it. `beside` is what was measured in the same run: where
 * a program that only passes on bytes took longer, too, it is the machine that had other work to do, and nothing is shown.
 */
export function latencyVerdict(
  { scenario, peer, p99Microseconds, more }: Summary,
  beside: readonly Summary[],
): string {
  if (!isAboutLatency(scenario) || p99Microseconds === undefined) return "";
  const goal = milliseconds(latencyGoalMicroseconds);
  const late = more["lateP99Microseconds"];
  const sent = late === undefined ? "" : `, of which it was sent up to ${milliseconds(late)} ms late`;
  if (p99Microseconds <= latencyGoalMicroseconds) return `p99 within ${goal} ms${sent}`;
  const least = peer === limitLine ? undefined : limitOf(scenario, beside);
  if (least === undefined) return `p99 above ${goal} ms${sent}`;
  return least > latencyGoalMicroseconds
    ? `p99 above ${goal} ms, as the relay's of ${milliseconds(least)} ms: the machine had other work${sent}`
    : `p99 above ${goal} ms, where the relay's is ${milliseconds(least)} ms${sent}`;
}

/** What the relay took for the same, or, where it cannot do that, for what is nearest to it. */
function limitOf(scenario: string, beside: readonly Summary[]): number | undefined {
  const relays = beside.filter((other) => other.peer === limitLine && isAboutLatency(other.scenario));
  const nearest = relays.find((other) => other.scenario === scenario) ?? relays[0];
  return nearest?.p99Microseconds;
}

function isAboutLatency(scenario: string): boolean {
  return scenarios.find(({ name }) => name === scenario)?.group === "latency";
}
