import { auditZigbee } from "@postern/audit/zigbee/audit";
import { type ZigbeeRuleId, zigbeeRules } from "@postern/audit/zigbee/rules";
import { Keyring } from "@postern/zigbee/keyring";
import { knownKeys } from "@postern/zigbee/known-keys";

import { type Attack } from "../attack/attack.ts";
import { conditions, labRun, type LabRun } from "../lab.ts";
import { recordingFrames } from "../recording.ts";
import { truths } from "./truths.ts";

/** How often a rule was right, over all runs. */
export interface RuleScore {
  readonly rule: ZigbeeRuleId;
  found: number;
  missed: number;
  falseAlarms: number;
  /** Runs in which there was nothing to find, and nothing was found. */
  quiet: number;
}

/** What scoring came to. */
export interface Scores {
  readonly seeds: number;
  readonly runs: number;
  readonly rules: readonly RuleScore[];
  /** Runs without an attacker, and findings in them by rules that had nothing to find. */
  readonly calmRuns: number;
  readonly calmFalseAlarms: number;
  /** Rules without a truth to compare with that found something: rule, attack, condition, times. */
  readonly others: ReadonlyMap<string, number>;
  readonly attacks: readonly Attack[];
}

function isKnown(bytes: Uint8Array): boolean {
  return knownKeys.some(({ hex }) => hex === Buffer.from(bytes).toString("hex"));
}

/** The rules that find something in the capture of a run, given the keys of the network. */
async function findingsOf({ simulation }: LabRun): Promise<ReadonlySet<string>> {
  const keyring = new Keyring();
  for (const { bytes, use } of simulation.keys) {
    if (use !== "master" && !isKnown(bytes)) keyring.add(bytes, use, { kind: "given" });
  }
  for (const { hex, uses, name } of knownKeys) {
    for (const use of uses) keyring.add(Buffer.from(hex, "hex"), use, { kind: "well-known", name });
  }
  const frames = recordingFrames(simulation.frames);
  const { findings } = await auditZigbee({
    keyring,
    showKeys: false,
    ...(simulation.scenario.stack.securityLevel === 4 ? { level: 4 } : {}),
    read: (onFrame) => {
      for (const frame of frames) onFrame(frame);
      return Promise.resolve();
    },
  });
  return new Set(findings.map(({ id }) => id));
}

/**
 * Audits the capture of every attack under every condition with each seed, and compares what is found with what is true. `goOn` is
 * asked before each attack; when it says no, the result is `undefined`.
 */
export async function scoreDetectors(
  attacks: readonly Attack[],
  seeds: readonly number[],
  goOn: (attack: Attack) => Promise<boolean> = () => Promise.resolve(true),
): Promise<Scores | undefined> {
  const rules = truths.map(([rule]): RuleScore => ({ rule, found: 0, missed: 0, falseAlarms: 0, quiet: 0 }));
  const others = new Map<string, number>();
  let [runs, calmRuns, calmFalseAlarms] = [0, 0, 0];
  for (const attack of attacks) {
    if (!(await goOn(attack))) return undefined;
    for (const condition of conditions) {
      for (const seed of seeds) {
        const run = labRun(attack, condition, seed);
        const found = await findingsOf(run);
        runs++;
        if (condition === "calm") calmRuns++;
        for (const [index, [rule, isTrue]] of truths.entries()) {
          const score = rules[index];
          if (score === undefined) continue;
          if (isTrue(run)) {
            if (found.has(rule)) score.found++;
            else score.missed++;
          } else if (found.has(rule)) {
            score.falseAlarms++;
            if (condition === "calm") calmFalseAlarms++;
          } else {
            score.quiet++;
          }
        }
        for (const id of Object.keys(zigbeeRules)) {
          if (!found.has(id) || truths.some(([rule]) => rule === id)) continue;
          const key = `${id} in ${attack.id}, ${condition}`;
          others.set(key, (others.get(key) ?? 0) + 1);
        }
      }
    }
  }
  return { seeds: seeds.length, runs, rules, calmRuns, calmFalseAlarms, others, attacks };
}

/** Of what was found, how much was true; `NaN` when nothing was found. */
export function precision({ found, falseAlarms }: RuleScore): number {
  return found / (found + falseAlarms);
}

/** Of what was true, how much was found; `NaN` when nothing was. */
export function recall({ found, missed }: RuleScore): number {
  return found / (found + missed);
}
