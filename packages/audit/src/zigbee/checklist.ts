import { type AuditReport } from "./audit.ts";
import { type ZigbeeRuleId } from "./rules.ts";

/** Whether a practice is kept, as far as a capture and an inventory tell. */
export type Verdict = "met" | "not met" | "not known";

/** A best practice of thesis 6.7 with what was seen of it. */
export interface CheckedPractice {
  readonly id: string;
  readonly practice: string;
  readonly thesis: string;
  readonly verdict: Verdict;
  /** What was seen, or what is missing to say more. */
  readonly evidence: string;
}

interface Practice {
  readonly id: string;
  readonly practice: string;
  /** Findings that say that it is not kept. */
  readonly against: readonly ZigbeeRuleId[];
  /** Without findings against it: what was seen that says that it is kept, or `undefined`. */
  readonly seen: (report: AuditReport, inventory: boolean) => string | undefined;
  /** What would have to be in the capture to say so. */
  readonly missing: string;
}

/** Part of damaged frames that is ordinary. */
const ordinaryShare = 0.1;

function damagedShare({ frames, damagedFrames }: AuditReport): number {
  return frames === 0 ? 1 : damagedFrames / frames;
}

/** Whether a device got the network key in the capture. */
function joins({ networks }: AuditReport): number {
  return networks.reduce(
    (sum, { devices }) => sum + [...devices.values()].filter(({ keyFrames }) => keyFrames.length > 0).length,
    0,
  );
}

function seenJoins(report: AuditReport): string | undefined {
  const count = joins(report);
  return count === 0 ? undefined : `${count} devices were given the network key, under link keys`;
}

const practices: readonly Practice[] = [
  {
    id: "frame-protection",
    practice: "Frames are encrypted and have an integrity code",
    against: ["ZB-SECURITY-OFF", "ZB-LEVEL-LOW", "ZB-UNSECURED-DATA"],
    seen: ({ securedFrames, openedFrames }) =>
      openedFrames > 0
        ? `${openedFrames} of ${securedFrames} protected frames were opened and verified`
        : undefined,
    missing: "no protected frame could be opened: give the network key",
  },
  {
    id: "commercial-mode",
    practice: "Keys are never sent in clear (commercial mode)",
    against: ["ZB-KEY-CLEAR", "ZB-LINK-KEY-UNDER-NETWORK-KEY"],
    seen: seenJoins,
    missing: "no device joined in the capture: record a join",
  },
  {
    id: "no-manufacturer-keys",
    practice: "No link key of a manufacturer, nor another that everybody knows, is used",
    against: [
      "ZB-KEY-KNOWN-LINK",
      "ZB-TCLK-WELL-KNOWN",
      "ZB-NWK-KEY-KNOWN",
      "ZB-TOUCHLINK-KEY",
      "ZB-TOUCHLINK-COMMAND",
    ],
    seen: seenJoins,
    missing: "no device joined in the capture: record a join",
  },
  {
    id: "unique-keys",
    practice: "Each device has a link key of its own",
    against: ["ZB-LINK-KEY-SHARED", "ZB-TCLK-SHARED", "ZB-KEY-KNOWN-LINK"],
    seen: (report) =>
      joins(report) > 1 ? `${joins(report)} devices joined, under different keys` : undefined,
    missing: "fewer than two devices joined in the capture under keys that are known",
  },
  {
    id: "key-theft",
    practice: "Keys are hard to guess and cannot be replayed into use by others",
    against: [
      "ZB-NWK-KEY-WEAK",
      "ZB-NWK-KEY-KNOWN",
      "ZB-NONCE-REUSE",
      "ZB-COUNTER-RESTART",
      "ZB-REJOIN-UNSECURED",
    ],
    seen: ({ openedFrames }) =>
      openedFrames > 0 ? "the network key has no pattern, and no nonce was used twice" : undefined,
    missing: "no protected frame could be opened: give the network key",
  },
  {
    id: "authorized-devices",
    practice: "Only devices of a list take part, and joining is shut otherwise",
    against: ["ZB-UNKNOWN-DEVICE", "ZB-PERMIT-JOIN", "ZB-ASSOCIATION-FLOOD"],
    seen: ({ networks }, inventory) =>
      inventory && networks.length > 0 ? "all devices that hold the key are in the inventory" : undefined,
    missing: "give an inventory (--inventory)",
  },
  {
    id: "interference",
    practice: "The network does not stand among many other wireless networks",
    against: ["ZB-JAMMING"],
    seen: (report) =>
      report.frames >= 100 && damagedShare(report) <= ordinaryShare
        ? `${(100 * damagedShare(report)).toFixed(1)} % of ${report.frames} frames were damaged`
        : undefined,
    missing:
      "the capture is short, or more than 10 % of its frames are damaged: record longer, nearer, or change the channel",
  },
  {
    id: "tested",
    practice: "The network was tested with a security tool before it was put to use",
    against: [],
    seen: ({ frames }) => (frames > 0 ? "by this audit" : undefined),
    missing: "the capture is empty",
  },
];

/** The best practices of thesis 6.7 against an audit. `inventory`: whether it was made with one. */
export function checkPractices(report: AuditReport, inventory: boolean): CheckedPractice[] {
  return practices.map(({ id, practice, against, seen, missing }) => {
    const finding = report.findings.find((found) => against.some((rule) => rule === found.id));
    const thesis = "6.7 Considerations and best practices";
    if (finding !== undefined) {
      const frames = finding.frames.slice(0, 4).join(", ");
      const evidence = `${finding.id} at ${finding.subject}: ${finding.summary} (frames ${frames})`;
      return { id, practice, thesis, verdict: "not met", evidence };
    }
    const kept = seen(report, inventory);
    return kept === undefined
      ? { id, practice, thesis, verdict: "not known", evidence: missing }
      : { id, practice, thesis, verdict: "met", evidence: kept };
  });
}
