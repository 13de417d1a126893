import { type Attack, type Loot, type Outcome, withSettings } from "./attack/attack.ts";
import { noLoot } from "./attack/base.ts";
import { measuredRun } from "./measurements.ts";
import { Simulation } from "./simulation.ts";

/** Without attack, with it, and with it against the defence. */
export const conditions = ["calm", "attacked", "defended"] as const;
export type Condition = (typeof conditions)[number];

/** One run of one attack under one condition. */
export interface LabRun {
  readonly attack: Attack;
  readonly condition: Condition;
  readonly simulation: Simulation;
  readonly outcome: Outcome;
}

/** Runs an attack once. The calm network is the weak one: what its settings cost without an attacker is nothing to see. */
export function labRun(attack: Attack, condition: Condition, seed: number): LabRun {
  const settings = condition === "defended" ? [attack.weak, attack.defended] : [attack.weak];
  const simulation = new Simulation(withSettings(attack.scenario, ...settings), seed);
  const end: () => Loot = condition === "calm" ? () => noLoot : attack.begin(simulation);
  const measured = measuredRun(simulation);
  return { attack, condition, simulation, outcome: { ...measured, ...end() } };
}

/** A mean with the half width of its 95 % confidence interval; `NaN` where nothing could be measured. */
export interface Estimate {
  readonly mean: number;
  readonly halfWidth: number;
}

/** Student's t for 95 %, two-sided, by degrees of freedom from 1 on. */
const studentT = [
  12.71, 4.3, 3.18, 2.78, 2.57, 2.45, 2.36, 2.31, 2.26, 2.23, 2.2, 2.18, 2.16, 2.14, 2.13, 2.12, 2.11, 2.1,
  2.09, 2.09, 2.08, 2.07, 2.07, 2.06, 2.06, 2.06, 2.05, 2.05, 2.05, 2.04,
];

/** Mean and confidence of several runs with different seeds. */
export function estimate(values: readonly number[]): Estimate {
  const known = values.filter((value) => Number.isFinite(value));
  if (known.length === 0) return { mean: Number.NaN, halfWidth: Number.NaN };
  const mean = known.reduce((sum, value) => sum + value, 0) / known.length;
  if (known.length === 1) return { mean, halfWidth: Number.NaN };
  const variance = known.reduce((sum, value) => sum + (value - mean) ** 2, 0) / (known.length - 1);
  const t = studentT[known.length - 2] ?? 1.96;
  return { mean, halfWidth: t * Math.sqrt(variance / known.length) };
}

/** What is estimated of each condition. */
export interface ConditionSummary {
  readonly harm: Estimate;
  readonly delivery: Estimate;
  readonly latencyMedianMs: Estimate;
  readonly batteryDays: Estimate;
  readonly childrenPeak: Estimate;
  readonly broadcastTablePeak: Estimate;
  readonly keysLearnt: Estimate;
  readonly readShare: Estimate;
}

/** An attack, its defence, and what they were worth over several seeds. */
export interface AttackSummary {
  readonly attack: Attack;
  readonly seeds: number;
  readonly conditions: Readonly<Record<Condition, ConditionSummary>>;
  /** How much of the harm the defence took away, from 0 to 1; `NaN` when the attack did none. */
  readonly prevented: number;
}

/** Runs an attack under all conditions with each seed. `onRun` is called after each run. */
export function summarizeAttack(
  attack: Attack,
  seeds: readonly number[],
  onRun: (run: LabRun) => void = () => {},
): AttackSummary {
  const summarize = (condition: Condition): ConditionSummary => {
    const outcomes = seeds.map((seed) => {
      const run = labRun(attack, condition, seed);
      onRun(run);
      return run.outcome;
    });
    const of = (value: (outcome: Outcome) => number): Estimate => estimate(outcomes.map(value));
    return {
      harm: of(attack.harm.of),
      delivery: of(({ delivery }) => delivery),
      latencyMedianMs: of(({ latencyMedianMs }) => latencyMedianMs),
      batteryDays: of(({ batteryDays }) => batteryDays),
      childrenPeak: of(({ childrenPeak }) => childrenPeak),
      broadcastTablePeak: of(({ broadcastTablePeak }) => broadcastTablePeak),
      keysLearnt: of(({ keysLearnt }) => keysLearnt),
      readShare: of(({ readShare }) => readShare),
    };
  };
  const calm = summarize("calm");
  const attacked = summarize("attacked");
  const defended = summarize("defended");
  const done = attacked.harm.mean - calm.harm.mean;
  const left = defended.harm.mean - calm.harm.mean;
  const prevented = done > 0 ? 1 - Math.max(0, left) / done : Number.NaN;
  return { attack, seeds: seeds.length, conditions: { calm, attacked, defended }, prevented };
}
