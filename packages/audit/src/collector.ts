import {
  type Confidence,
  confidences,
  type Evidence,
  type Finding,
  type Rule,
  severities,
} from "./finding.ts";

/** Frames of a finding that are shown in detail. */
const evidenceMax = 10;
/** Frame numbers of a finding that are kept. */
const framesMax = 1_000;
/** Findings that are kept: every rule, at every device of a large network. */
const findingsMax = 10_000;

interface Draft {
  confidence: Confidence;
  summary: (frameCount: number) => string;
  readonly frames: number[];
  readonly evidence: Evidence[];
  frameCount: number;
}

/** Puts together what a rule finds at one place, within limits. */
export class Collector<RuleId extends string> {
  readonly #rules: Readonly<Record<RuleId, Rule>>;
  readonly #drafts = new Map<RuleId, Map<string, Draft>>();
  #count = 0;

  constructor(rules: Readonly<Record<RuleId, Rule>>) {
    this.#rules = rules;
  }

  /**
   * Adds a frame to the finding of `id` at `subject`. The highest confidence and the last summary stay; `evidence` is asked
   * for while there is room.
   */
  add(
    id: RuleId,
    subject: string,
    frame: number,
    detail: {
      readonly confidence: Confidence;
      readonly summary: string | ((frameCount: number) => string);
      readonly evidence: () => Evidence;
    },
  ): void {
    const bySubject = this.#drafts.get(id) ?? new Map<string, Draft>();
    this.#drafts.set(id, bySubject);
    let draft = bySubject.get(subject);
    const { summary: given } = detail;
    const summary = typeof given === "string" ? () => given : given;
    if (draft === undefined) {
      if (this.#count >= findingsMax) return;
      this.#count++;
      draft = { confidence: detail.confidence, summary, frames: [], evidence: [], frameCount: 0 };
      bySubject.set(subject, draft);
    }
    draft.summary = summary;
    if (confidences.indexOf(detail.confidence) > confidences.indexOf(draft.confidence)) {
      draft.confidence = detail.confidence;
    }
    if (draft.frames.at(-1) === frame) return;
    draft.frameCount++;
    if (draft.frames.length < framesMax) draft.frames.push(frame);
    if (draft.evidence.length < evidenceMax) draft.evidence.push(detail.evidence());
  }

  /** The findings, worst first, then by rule, then by first frame. `shown` is what a report shows of evidence. */
  findings(shown: (evidence: Evidence) => Evidence = (evidence) => evidence): Finding[] {
    const found: Finding[] = [];
    for (const [id, bySubject] of this.#drafts) {
      for (const [subject, draft] of bySubject) {
        const { confidence, frameCount } = draft;
        const evidence = draft.evidence.map((one) => shown(one));
        const frames = draft.frames.toSorted((a, b) => a - b);
        const summary = draft.summary(frameCount);
        found.push({ id, ...this.#rules[id], confidence, subject, summary, frames, evidence, frameCount });
      }
    }
    return found.toSorted(
      (a, b) =>
        severities.indexOf(b.severity) - severities.indexOf(a.severity) ||
        a.id.localeCompare(b.id) ||
        (a.frames[0] ?? 0) - (b.frames[0] ?? 0),
    );
  }
}
