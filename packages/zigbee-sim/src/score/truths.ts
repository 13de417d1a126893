import { type ZigbeeRuleId } from "@postern/audit/zigbee/rules";

import { attackSeconds } from "../attack/base.ts";
import { type LabRun } from "../lab.ts";

/** Silence that a rule needs to hear, and that something has to come after. */
const silenceSeconds = 40;

/** What is true of a run, as the simulation knows it, for a rule to find. */
type IsTrue = (run: LabRun) => boolean;

function isUnder(id: string): IsTrue {
  return ({ attack, condition }) => attack.id === id && condition !== "calm";
}

/** A network that has left its channel at once leaves a capture that ends: nobody can say of what. */
function isHeardAfterwards({ simulation }: LabRun): boolean {
  return (simulation.frames.at(-1)?.timeUs ?? 0) > (attackSeconds + silenceSeconds) * 1e6;
}

/** The rules that are scored, and when what they look for is really there. */
export const truths: readonly (readonly [rule: ZigbeeRuleId, isTrue: IsTrue])[] = [
  [
    "ZB-KEY-CLEAR",
    ({ attack, condition, simulation }) => {
      const { mode, linkKeys } = simulation.scenario.security;
      const inOurs = mode === "residential" && linkKeys === "none";
      return inOurs || (attack.id === "trap-network" && condition === "attacked");
    },
  ],
  ["ZB-KEY-KNOWN-LINK", ({ simulation }) => simulation.scenario.security.linkKeys === "well-known"],
  ["ZB-ASSOCIATION-FLOOD", isUnder("association-flood")],
  ["ZB-GHOST", isUnder("ghost")],
  [
    "ZB-MIC-FAILED",
    (run) => {
      // Where frames have no integrity code, none is wrong.
      const hasCodes = run.simulation.scenario.stack.securityLevel !== 4;
      return isUnder("ghost")(run) || (isUnder("maximum-counter")(run) && hasCodes);
    },
  ],
  ["ZB-ACK-FORGED", isUnder("forged-acknowledgements")],
  ["ZB-IDENTITY", isUnder("key-extraction")],
  ["ZB-LINK-KEY-REUSED", ({ attack, condition }) => attack.id === "key-reuse" && condition === "attacked"],
  ["ZB-COUNTER-MAX", isUnder("maximum-counter")],
  ["ZB-REPLAY", (run) => isUnder("replay")(run) || isUnder("flooding")(run)],
  ["ZB-BROADCAST-STORM", isUnder("broadcast-storm")],
  ["ZB-JAMMING", (run) => isUnder("jamming")(run) && isHeardAfterwards(run)],
  ["ZB-REJOIN-UNSECURED", isUnder("unsecured-rejoin")],
  ["ZB-DISASSOCIATION", isUnder("disassociation")],
  ["ZB-REALIGNMENT", isUnder("realignment")],
  ["ZB-TRAP-NETWORK", isUnder("pan-conflict")],
  ["ZB-PAN-CONFLICT", isUnder("pan-conflict")],
];
