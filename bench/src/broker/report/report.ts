import { readFileSync } from "node:fs";

import { z } from "zod";

import { summary } from "./summary.ts";

const machine = z.strictObject({
  processor: z.string(),
  cores: z.number(),
  memoryGigabytes: z.number(),
  system: z.string(),
  node: z.string(),
  commit: z.string(),
  date: z.string(),
  loadBefore: z.number(),
});

const scenarioReport = z.strictObject({
  machine,
  rounds: z.number(),
  seconds: z.number(),
  /** By name, as each says of itself. */
  versions: z.record(z.string(), z.string()),
  summaries: z.array(summary),
});

/** What a run of the comparison is stored as. */
export type ScenarioReport = z.infer<typeof scenarioReport>;

const curve = z.strictObject({
  name: z.string(),
  /** What is counted along it: subscriptions, connections … */
  of: z.string(),
  points: z.array(
    z.strictObject({
      count: z.number(),
      /** Of the server, to come from nothing to this many. */
      microsecondsEach: z.number(),
      bytesEach: z.number(),
      /** Of the server, for a message between 20 pairs while all of this is there. */
      messageMicroseconds: z.number(),
      /** More figures, by name with unit. */
      more: z.record(z.string(), z.number()).optional(),
    }),
  ),
  /** Where, when and of what commit it was measured; only where it is stored beside curves of other runs. */
  run: z.string().optional(),
});

const growthReport = z.strictObject({ machine, curves: z.array(curve) });

/** How cost grows with what the server holds. */
export type GrowthReport = z.infer<typeof growthReport>;
export type Curve = z.infer<typeof curve>;

const scaling = z.strictObject({
  scenario: z.string(),
  workers: z.number(),
  cpuMicroseconds: z.number(),
  /** Of the thread that has most to do, for each message. */
  busiestMicroseconds: z.number(),
  /** How many times less that is than with one worker: the median over rounds. */
  timesOne: z.number(),
  perSecond: z.number(),
  p50Microseconds: z.number(),
  p99Microseconds: z.number(),
});

const scalingReport = z.strictObject({ machine, found: z.array(scaling) });

/** What several threads are worth. */
export type ScalingReport = z.infer<typeof scalingReport>;
export type Scaling = z.infer<typeof scaling>;

/** `undefined` when there is none yet. */
export function readScalingReport(path: string): ScalingReport | undefined {
  const json = read(path);
  return json === undefined ? undefined : scalingReport.parse(json);
}

/** `undefined` when there is none yet. */
export function readScenarioReport(path: string): ScenarioReport | undefined {
  const json = read(path);
  return json === undefined ? undefined : scenarioReport.parse(json);
}

/** `undefined` when there is none yet. */
export function readGrowthReport(path: string): GrowthReport | undefined {
  const json = read(path);
  return json === undefined ? undefined : growthReport.parse(json);
}

function read(path: string): unknown {
  try {
    return JSON.parse(readFileSync(path, "utf8"));
  } catch (error) {
    if (error instanceof Error && "code" in error && error.code === "ENOENT") return undefined;
    throw error;
  }
}
