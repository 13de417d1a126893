import { type ZigbeeRuleId } from "@postern/audit/zigbee/rules";

import { type Measurements } from "../measurements.ts";
import { type Scenario } from "../scenario.ts";
import { type SecuritySettings, type StackSettings } from "../settings.ts";
import { type Simulation } from "../simulation.ts";

/** What an attacker got out of a run, beside what the network lost. */
export interface Loot {
  readonly keysLearnt: number;
  /** Part of the data frames that it read, from 0 to 1. */
  readonly readShare: number;
  /** What only this attack brings. */
  readonly other: number;
}

/** What a run with or without an attack led to. */
export interface Outcome extends Measurements, Loot {}

/** Settings that differ from the safe ones. */
export interface Settings {
  readonly stack?: Partial<StackSettings>;
  readonly security?: Partial<SecuritySettings>;
}

/** An attack with its defence. */
export interface Attack {
  readonly id: string;
  readonly title: string;
  /** Section of the thesis and its name for the vulnerability. */
  readonly thesis: string;
  readonly scenario: Scenario;
  /** How the network is set up that suffers from it. */
  readonly weak: Settings;
  /** How it is set up with the defence: what is not named is as in `weak`. */
  readonly defended: Settings;
  /** The defence in words. */
  readonly defence: string;
  /** What is counted as harm: the higher the worse. */
  readonly harm: {
    readonly name: string;
    readonly of: (outcome: Outcome) => number;
    readonly unit: "%" | "";
  };
  /** The rules of the auditor that see it; none: nothing on the air tells it from what is right. */
  readonly rules: readonly ZigbeeRuleId[];
  /** Puts the attacker into a simulation; returns what to ask at its end. */
  readonly begin: (simulation: Simulation) => () => Loot;
}

/** A scenario with other settings. */
export function withSettings(scenario: Scenario, ...all: readonly Settings[]): Scenario {
  const stack = { ...scenario.stack };
  const security = { ...scenario.security };
  for (const settings of all) {
    Object.assign(stack, settings.stack);
    Object.assign(security, settings.security);
  }
  return { ...scenario, stack, security };
}
