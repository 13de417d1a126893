import { type Finding } from "./finding.ts";

/** What makes two findings of different captures the same one: the rule and the place. */
export function placeOf(finding: Pick<Finding, "id" | "subject">): string {
  return `${finding.id} ${finding.subject}`;
}

/** The findings, those that stand in `baseline` marked as known. */
export function comparedWith(findings: readonly Finding[], baseline: ReadonlySet<string>): Finding[] {
  return findings.map((finding) => withKnown(finding, baseline.has(placeOf(finding))));
}

function withKnown(finding: Finding, known: boolean): Finding {
  return { ...finding, known };
}

/**
 * The places of the findings in a report that was written as JSON before; `undefined` when the text is no such report.
 */
export function parseBaseline(text: string): ReadonlySet<string> | undefined {
  let report: unknown;
  try {
    report = JSON.parse(text);
  } catch {
    return undefined;
  }
  if (typeof report !== "object" || report === null || !("findings" in report)) return undefined;
  const { findings } = report;
  if (!Array.isArray(findings)) return undefined;
  const places = new Set<string>();
  for (const finding of findings as readonly unknown[]) {
    if (typeof finding !== "object" || finding === null) return undefined;
    if (!("id" in finding && "subject" in finding)) return undefined;
    const { id, subject } = finding;
    if (typeof id !== "string" || typeof subject !== "string") return undefined;
    places.add(placeOf({ id, subject }));
  }
  return places;
}
